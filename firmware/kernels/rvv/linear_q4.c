/* SPDX-License-Identifier: Apache-2.0 */

/* Q4 and Q4M weights: a byte holds a row's columns 2p and 2p + 1.
 *
 * The 16-bit accumulator of a group starts at -8 times the sum of the activations and wraps:
 * nibbles stay unsigned, and the true sum is at most 32512 in magnitude.
 */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

#define PAIRS (KERNEL_GROUP / 2)

#define INLINE static inline __attribute__((always_inline))

/* 64 bf16 of a record from `lane` on, as f32. */
INLINE vfloat32m8_t load_bf16_m8(const uint8_t *p, size_t vl)
{
    vuint16m4_t h = __riscv_vle16_v_u16m4((const uint16_t *)(const void *)p, vl);
    vuint32m8_t u = __riscv_vsll_vx_u32m8(__riscv_vzext_vf2_u32m8(h, vl), 16, vl);
    return __riscv_vreinterpret_v_u32m8_f32m8(u);
}

INLINE vfloat32m4_t load_bf16_m4(const uint8_t *p, size_t vl)
{
    vuint16m2_t h = __riscv_vle16_v_u16m2((const uint16_t *)(const void *)p, vl);
    vuint32m4_t u = __riscv_vsll_vx_u32m4(__riscv_vzext_vf2_u32m4(h, vl), 16, vl);
    return __riscv_vreinterpret_v_u32m4_f32m4(u);
}

/* One input row against vl weight rows from `lane` of the tile. */
INLINE void linear_single(const struct kernel_weight *w, const uint8_t *tile, uint32_t lane,
                          size_t vl, const struct kernel_q8a *x, float *out, int minimum)
{
    vfloat32m8_t acc = __riscv_vfmv_v_f_f32m8(0.0f, vl);
    const int8_t *q = x->values;
    const uint8_t *record = tile;
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record, q += KERNEL_GROUP) {
        const uint8_t *values = record + lane;
        vint16m4_t sum = __riscv_vmv_v_x_i16m4((int16_t)(-8 * x->sums[g]), vl);
        KERNEL_UNROLL(16)
        for (uint32_t p = 0; p < PAIRS; p++) {
            vuint8m2_t b = __riscv_vle8_v_u8m2(values + p * KERNEL_TILE, vl);
            sum = __riscv_vwmaccsu_vx_i16m4(sum, q[2 * p], __riscv_vand_vx_u8m2(b, 15, vl), vl);
            sum = __riscv_vwmaccsu_vx_i16m4(sum, q[2 * p + 1], __riscv_vsrl_vx_u8m2(b, 4, vl), vl);
        }
        const uint8_t *scales = record + PAIRS * KERNEL_TILE + 2 * lane;
        vfloat32m8_t s = __riscv_vfmul_vf_f32m8(load_bf16_m8(scales, vl), x->scales[g], vl);
        acc = __riscv_vfmacc_vv_f32m8(acc, s, __riscv_vfwcvt_f_x_v_f32m8(sum, vl), vl);
        if (minimum) {
            float offset = x->scales[g] * (float)x->sums[g];
            vfloat32m8_t m = load_bf16_m8(scales + 2 * KERNEL_TILE, vl);
            acc = __riscv_vfmacc_vf_f32m8(acc, offset, m, vl);
        }
    }
    __riscv_vse32_v_f32m8(out, acc, vl);
}

/* A group's end for one input row: float accumulators are in memory, the registers hold sums. */
INLINE void finish(float *out, vint16m2_t sum, vfloat32m4_t s, vfloat32m4_t m,
                   const struct kernel_q8a *x, uint32_t g, int minimum, size_t vl)
{
    vfloat32m4_t acc = __riscv_vle32_v_f32m4(out, vl);
    vfloat32m4_t scaled = __riscv_vfmul_vf_f32m4(s, x->scales[g], vl);
    acc = __riscv_vfmacc_vv_f32m4(acc, scaled, __riscv_vfwcvt_f_x_v_f32m4(sum, vl), vl);
    if (minimum)
        acc = __riscv_vfmacc_vf_f32m4(acc, x->scales[g] * (float)x->sums[g], m, vl);
    __riscv_vse32_v_f32m4(out, acc, vl);
}

/* Four input rows: each weight is loaded and unpacked once for them. */
INLINE void linear_four(const struct kernel_weight *w, const uint8_t *tile, uint32_t lane,
                        size_t vl, const struct kernel_q8a *x, float *out, uint32_t stride,
                        int minimum)
{
    for (uint32_t t = 0; t < 4; t++)
        __riscv_vse32_v_f32m4(out + t * stride, __riscv_vfmv_v_f_f32m4(0.0f, vl), vl);
    const uint8_t *record = tile;
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
        const uint8_t *values = record + lane;
        const int8_t *q0 = x[0].values + g * KERNEL_GROUP, *q1 = x[1].values + g * KERNEL_GROUP;
        const int8_t *q2 = x[2].values + g * KERNEL_GROUP, *q3 = x[3].values + g * KERNEL_GROUP;
        vint16m2_t a = __riscv_vmv_v_x_i16m2((int16_t)(-8 * x[0].sums[g]), vl);
        vint16m2_t b = __riscv_vmv_v_x_i16m2((int16_t)(-8 * x[1].sums[g]), vl);
        vint16m2_t c = __riscv_vmv_v_x_i16m2((int16_t)(-8 * x[2].sums[g]), vl);
        vint16m2_t d = __riscv_vmv_v_x_i16m2((int16_t)(-8 * x[3].sums[g]), vl);
        KERNEL_UNROLL(4)
        for (uint32_t p = 0; p < KERNEL_GROUP; p += 2, values += KERNEL_TILE) {
            vuint8m1_t v = __riscv_vle8_v_u8m1(values, vl);
            vuint8m1_t low = __riscv_vand_vx_u8m1(v, 15, vl);
            vuint8m1_t high = __riscv_vsrl_vx_u8m1(v, 4, vl);
            a = __riscv_vwmaccsu_vx_i16m2(a, q0[p], low, vl);
            b = __riscv_vwmaccsu_vx_i16m2(b, q1[p], low, vl);
            c = __riscv_vwmaccsu_vx_i16m2(c, q2[p], low, vl);
            d = __riscv_vwmaccsu_vx_i16m2(d, q3[p], low, vl);
            a = __riscv_vwmaccsu_vx_i16m2(a, q0[p + 1], high, vl);
            b = __riscv_vwmaccsu_vx_i16m2(b, q1[p + 1], high, vl);
            c = __riscv_vwmaccsu_vx_i16m2(c, q2[p + 1], high, vl);
            d = __riscv_vwmaccsu_vx_i16m2(d, q3[p + 1], high, vl);
        }
        const uint8_t *scales = record + PAIRS * KERNEL_TILE + 2 * lane;
        vfloat32m4_t s = load_bf16_m4(scales, vl);
        vfloat32m4_t m = minimum ? load_bf16_m4(scales + 2 * KERNEL_TILE, vl) : s;
        finish(out, a, s, m, &x[0], g, minimum, vl);
        finish(out + stride, b, s, m, &x[1], g, minimum, vl);
        finish(out + 2 * stride, c, s, m, &x[2], g, minimum, vl);
        finish(out + 3 * stride, d, s, m, &x[3], g, minimum, vl);
    }
}

INLINE void linear(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride, int minimum)
{
    const uint8_t *tile = kernel_tile(w, row0);
    uint32_t t = 0;
    for (; t + 4 <= count; t += 4) {
        size_t vl;
        for (uint32_t row = row0; row < row1; row += (uint32_t)vl) {
            vl = __riscv_vsetvl_e8m1(row1 - row);
            linear_four(w, tile, row % KERNEL_TILE, vl, x + t, acc + t * acc_stride + (row - row0),
                        acc_stride, minimum);
        }
    }
    for (; t < count; t++) {
        size_t vl;
        for (uint32_t row = row0; row < row1; row += (uint32_t)vl) {
            vl = __riscv_vsetvl_e8m2(row1 - row);
            linear_single(w, tile, row % KERNEL_TILE, vl, x + t,
                          acc + t * acc_stride + (row - row0), minimum);
        }
    }
}

void rvv_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 0);
}

void rvv_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 1);
}

#endif
