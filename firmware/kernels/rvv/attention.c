/* SPDX-License-Identifier: Apache-2.0 */

/* Scores and values of one page and one KV head: positions are lanes for int8 keys, dimensions for
 * values; f32 keys follow the 32 lanes of docs/numerics.md. */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

void rvv_dot_i8(const int8_t *q, const int8_t *k, uint32_t head_dim, int32_t *out)
{
    size_t vl;
    for (uint32_t j = 0; j < KERNEL_TILE; j += (uint32_t)vl) {
        vl = __riscv_vsetvl_e8m1(KERNEL_TILE - j);
        const int8_t *key = k + j;
        vint32m4_t sum = __riscv_vmv_v_x_i32m4(0, vl);
        for (uint32_t d = 0; d < head_dim; d += 2, key += 2 * KERNEL_TILE) {
            vint16m2_t pair = __riscv_vwmul_vx_i16m2(__riscv_vle8_v_i8m1(key, vl), q[d], vl);
            vint8m1_t next = __riscv_vle8_v_i8m1(key + KERNEL_TILE, vl);
            pair = __riscv_vwmacc_vx_i16m2(pair, q[d + 1], next, vl);
            sum = __riscv_vwadd_wv_i32m4(sum, pair, vl);
        }
        __riscv_vse32_v_i32m4(out + j, sum, vl);
    }
}

void rvv_axpy_i8(const float *p, const int8_t *v, uint32_t head_dim, uint32_t count, float *acc)
{
    size_t vl;
    for (uint32_t d = 0; d < head_dim; d += (uint32_t)vl) {
        vl = __riscv_vsetvl_e8m1(head_dim - d);
        vfloat32m4_t sum = __riscv_vle32_v_f32m4(acc + d, vl);
        for (uint32_t j = 0; j < count; j++) {
            vint8m1_t b = __riscv_vle8_v_i8m1(v + j * head_dim + d, vl);
            vfloat32m4_t f = __riscv_vfwcvt_f_x_v_f32m4(__riscv_vsext_vf2_i16m2(b, vl), vl);
            sum = __riscv_vfmacc_vf_f32m4(sum, p[j], f, vl);
        }
        __riscv_vse32_v_f32m4(acc + d, sum, vl);
    }
}

void rvv_dot_f32(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out)
{
    for (uint32_t j = 0; j < count; j++, k += head_dim) {
        vfloat32m8_t lanes = __riscv_vfmv_v_f_f32m8(0.0f, 32);
        for (uint32_t d = 0; d < head_dim; d += 32) {
            size_t vl = head_dim - d < 32 ? head_dim - d : 32;
            vfloat32m8_t a = __riscv_vle32_v_f32m8(q + d, vl);
            lanes = __riscv_vfmacc_vv_f32m8_tu(lanes, a, __riscv_vle32_v_f32m8(k + d, vl), vl);
        }
        float buffer[32];
        __riscv_vse32_v_f32m8(buffer, lanes, 32);
        out[j] = kernel_fold(buffer);
    }
}

void rvv_axpy_f32(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc)
{
    size_t vl;
    for (uint32_t d = 0; d < head_dim; d += (uint32_t)vl) {
        vl = __riscv_vsetvl_e32m8(head_dim - d);
        vfloat32m8_t sum = __riscv_vle32_v_f32m8(acc + d, vl);
        for (uint32_t j = 0; j < count; j++) {
            vfloat32m8_t f = __riscv_vle32_v_f32m8(v + j * head_dim + d, vl);
            sum = __riscv_vfmacc_vf_f32m8(sum, p[j], f, vl);
        }
        __riscv_vse32_v_f32m8(acc + d, sum, vl);
    }
}

#endif
