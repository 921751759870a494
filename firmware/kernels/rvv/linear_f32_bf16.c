/* SPDX-License-Identifier: Apache-2.0 */

/* F32 and BF16 weights: a column of 64 rows, then the next. */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

#define INLINE static inline __attribute__((always_inline))

INLINE vfloat32m8_t load_m8(const uint8_t *p, int bytes, size_t vl)
{
    if (bytes == 4)
        return __riscv_vle32_v_f32m8((const float *)(const void *)p, vl);
    vuint16m4_t h = __riscv_vle16_v_u16m4((const uint16_t *)(const void *)p, vl);
    vuint32m8_t u = __riscv_vsll_vx_u32m8(__riscv_vzext_vf2_u32m8(h, vl), 16, vl);
    return __riscv_vreinterpret_v_u32m8_f32m8(u);
}

INLINE vfloat32m4_t load_m4(const uint8_t *p, int bytes, size_t vl)
{
    if (bytes == 4)
        return __riscv_vle32_v_f32m4((const float *)(const void *)p, vl);
    vuint16m2_t h = __riscv_vle16_v_u16m2((const uint16_t *)(const void *)p, vl);
    vuint32m4_t u = __riscv_vsll_vx_u32m4(__riscv_vzext_vf2_u32m4(h, vl), 16, vl);
    return __riscv_vreinterpret_v_u32m4_f32m4(u);
}

INLINE void linear_single(const struct kernel_weight *w, const uint8_t *column, size_t vl,
                          const float *x, float *out, int bytes)
{
    vfloat32m8_t acc = __riscv_vfmv_v_f_f32m8(0.0f, vl);
    for (uint32_t k = 0; k < w->cols; k++, column += w->record)
        acc = __riscv_vfmacc_vf_f32m8(acc, x[k], load_m8(column, bytes, vl), vl);
    __riscv_vse32_v_f32m8(out, acc, vl);
}

INLINE void linear_four(const struct kernel_weight *w, const uint8_t *column, size_t vl,
                        const float *const *x, float *out, uint32_t stride, int bytes)
{
    vfloat32m4_t a = __riscv_vfmv_v_f_f32m4(0.0f, vl), b = a, c = a, d = a;
    for (uint32_t k = 0; k < w->cols; k++, column += w->record) {
        vfloat32m4_t v = load_m4(column, bytes, vl);
        a = __riscv_vfmacc_vf_f32m4(a, x[0][k], v, vl);
        b = __riscv_vfmacc_vf_f32m4(b, x[1][k], v, vl);
        c = __riscv_vfmacc_vf_f32m4(c, x[2][k], v, vl);
        d = __riscv_vfmacc_vf_f32m4(d, x[3][k], v, vl);
    }
    __riscv_vse32_v_f32m4(out, a, vl);
    __riscv_vse32_v_f32m4(out + stride, b, vl);
    __riscv_vse32_v_f32m4(out + 2 * stride, c, vl);
    __riscv_vse32_v_f32m4(out + 3 * stride, d, vl);
}

INLINE void linear(const struct kernel_weight *w, const float *const *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride, int bytes)
{
    const uint8_t *tile = kernel_tile(w, row0);
    uint32_t t = 0;
    for (; t + 4 <= count; t += 4) {
        size_t vl;
        for (uint32_t row = row0; row < row1; row += (uint32_t)vl) {
            vl = __riscv_vsetvl_e32m4(row1 - row);
            linear_four(w, tile + row % KERNEL_TILE * (uint32_t)bytes, vl, x + t,
                        acc + t * acc_stride + (row - row0), acc_stride, bytes);
        }
    }
    for (; t < count; t++) {
        size_t vl;
        for (uint32_t row = row0; row < row1; row += (uint32_t)vl) {
            vl = __riscv_vsetvl_e32m8(row1 - row);
            linear_single(w, tile + row % KERNEL_TILE * (uint32_t)bytes, vl, x[t],
                          acc + t * acc_stride + (row - row0), bytes);
        }
    }
}

void rvv_linear_f32(const struct kernel_weight *w, const float *const *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 4);
}

void rvv_linear_bf16(const struct kernel_weight *w, const float *const *x, uint32_t count,
                     uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 2);
}

#endif
