/* SPDX-License-Identifier: Apache-2.0 */

/* Quantization of activations, and sums in 32 virtual lanes: 32 floats are one LMUL 8 register
 * group at VLEN 128 and a part of one beyond. */

#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

void rvv_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums)
{
    for (uint32_t g = 0; g * KERNEL_GROUP < n; g++, x += KERNEL_GROUP, values += KERNEL_GROUP) {
        uint32_t left = n - g * KERNEL_GROUP;
        size_t vl = left < KERNEL_GROUP ? left : KERNEL_GROUP;
        vfloat32m8_t v = __riscv_vle32_v_f32m8(x, vl);
        vfloat32m1_t zero = __riscv_vfmv_s_f_f32m1(0.0f, 1);
        vfloat32m1_t amax = __riscv_vfredmax_vs_f32m8_f32m1(__riscv_vfabs_v_f32m8(v, vl), zero, vl);
        float inverse;
        scales[g] = quantize_scale(__riscv_vfmv_f_s_f32m1_f32(amax), &inverse);
        v = __riscv_vfmul_vf_f32m8(v, inverse, vl);
        v = __riscv_vfmin_vf_f32m8(v, 127.0f, vl);
        vint32m8_t q = __riscv_vfcvt_x_f_v_i32m8_rm(v, __RISCV_FRM_RNE, vl);
        vint32m1_t none = __riscv_vmv_s_x_i32m1(0, 1);
        sums[g] = __riscv_vmv_x_s_i32m1_i32(__riscv_vredsum_vs_i32m8_i32m1(q, none, vl));
        vint16m4_t half = __riscv_vncvt_x_x_w_i16m4(q, vl);
        __builtin_memset(values + vl, 0, KERNEL_GROUP - vl);
        __riscv_vse8_v_i8m2(values, __riscv_vncvt_x_x_w_i8m2(half, vl), vl);
    }
}

/* The 32 lanes folded. */
static float fold(vfloat32m8_t lanes)
{
    float buffer[32];
    __riscv_vse32_v_f32m8(buffer, lanes, 32);
    return kernel_fold(buffer);
}

float rvv_sum(const float *x, uint32_t n)
{
    vfloat32m8_t lanes = __riscv_vfmv_v_f_f32m8(0.0f, 32);
    for (uint32_t i = 0; i < n; i += 32) {
        size_t vl = n - i < 32 ? n - i : 32;
        lanes = __riscv_vfadd_vv_f32m8_tu(lanes, lanes, __riscv_vle32_v_f32m8(x + i, vl), vl);
    }
    return fold(lanes);
}

float rvv_sum_squares(const float *x, float mean, uint32_t n)
{
    vfloat32m8_t lanes = __riscv_vfmv_v_f_f32m8(0.0f, 32);
    for (uint32_t i = 0; i < n; i += 32) {
        size_t vl = n - i < 32 ? n - i : 32;
        vfloat32m8_t d = __riscv_vfsub_vf_f32m8(__riscv_vle32_v_f32m8(x + i, vl), mean, vl);
        lanes = __riscv_vfmacc_vv_f32m8_tu(lanes, d, d, vl);
    }
    return fold(lanes);
}

#endif
