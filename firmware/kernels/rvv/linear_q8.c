/* SPDX-License-Identifier: Apache-2.0 */

/* Q8 weights: two products are at most 32258 and are added in 16 bits, then widened to 32. */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

#define PAIR (2u * KERNEL_TILE)

#define INLINE static inline __attribute__((always_inline))

INLINE vint16m2_t pair(vint8m1_t w0, vint8m1_t w1, const int8_t *q, size_t vl)
{
    return __riscv_vwmacc_vx_i16m2(__riscv_vwmul_vx_i16m2(w0, q[0], vl), q[1], w1, vl);
}

INLINE vfloat32m4_t load_scales(const uint8_t *p, size_t vl)
{
    vuint16m2_t h = __riscv_vle16_v_u16m2((const uint16_t *)(const void *)p, vl);
    vuint32m4_t u = __riscv_vsll_vx_u32m4(__riscv_vzext_vf2_u32m4(h, vl), 16, vl);
    return __riscv_vreinterpret_v_u32m4_f32m4(u);
}

INLINE vfloat32m4_t finish(vfloat32m4_t acc, vint32m4_t sum, vfloat32m4_t s, float scale, size_t vl)
{
    s = __riscv_vfmul_vf_f32m4(s, scale, vl);
    return __riscv_vfmacc_vv_f32m4(acc, s, __riscv_vfcvt_f_x_v_f32m4(sum, vl), vl);
}

/* One input row against vl weight rows from `lane` of the tile. */
INLINE void linear_single(const struct kernel_weight *w, const uint8_t *tile, uint32_t lane,
                          size_t vl, const struct kernel_q8a *x, float *out)
{
    vfloat32m4_t acc = __riscv_vfmv_v_f_f32m4(0.0f, vl);
    const int8_t *q = x->values;
    const uint8_t *record = tile;
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record, q += KERNEL_GROUP) {
        const int8_t *values = (const int8_t *)record + lane;
        vint32m4_t sum = __riscv_vmv_v_x_i32m4(0, vl);
        KERNEL_UNROLL(16)
        for (uint32_t k = 0; k < KERNEL_GROUP; k += 2, values += PAIR) {
            vint8m1_t w0 = __riscv_vle8_v_i8m1(values, vl);
            vint8m1_t w1 = __riscv_vle8_v_i8m1(values + KERNEL_TILE, vl);
            sum = __riscv_vwadd_wv_i32m4(sum, pair(w0, w1, q + k, vl), vl);
        }
        const uint8_t *scales = record + KERNEL_GROUP * KERNEL_TILE + 2 * lane;
        acc = finish(acc, sum, load_scales(scales, vl), x->scales[g], vl);
    }
    __riscv_vse32_v_f32m4(out, acc, vl);
}

/* Four input rows: each weight is loaded once for them; float accumulators are in memory. */
INLINE void linear_four(const struct kernel_weight *w, const uint8_t *tile, uint32_t lane,
                        size_t vl, const struct kernel_q8a *x, float *out, uint32_t stride)
{
    for (uint32_t t = 0; t < 4; t++)
        __riscv_vse32_v_f32m4(out + t * stride, __riscv_vfmv_v_f_f32m4(0.0f, vl), vl);
    const uint8_t *record = tile;
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
        const int8_t *values = (const int8_t *)record + lane;
        const int8_t *q0 = x[0].values + g * KERNEL_GROUP, *q1 = x[1].values + g * KERNEL_GROUP;
        const int8_t *q2 = x[2].values + g * KERNEL_GROUP, *q3 = x[3].values + g * KERNEL_GROUP;
        vint32m4_t a = __riscv_vmv_v_x_i32m4(0, vl), b = a, c = a, d = a;
        KERNEL_UNROLL(4)
        for (uint32_t k = 0; k < KERNEL_GROUP; k += 2, values += PAIR) {
            vint8m1_t w0 = __riscv_vle8_v_i8m1(values, vl);
            vint8m1_t w1 = __riscv_vle8_v_i8m1(values + KERNEL_TILE, vl);
            a = __riscv_vwadd_wv_i32m4(a, pair(w0, w1, q0 + k, vl), vl);
            b = __riscv_vwadd_wv_i32m4(b, pair(w0, w1, q1 + k, vl), vl);
            c = __riscv_vwadd_wv_i32m4(c, pair(w0, w1, q2 + k, vl), vl);
            d = __riscv_vwadd_wv_i32m4(d, pair(w0, w1, q3 + k, vl), vl);
        }
        vfloat32m4_t s = load_scales(record + KERNEL_GROUP * KERNEL_TILE + 2 * lane, vl);
        float *o1 = out + stride, *o2 = o1 + stride, *o3 = o2 + stride;
        vfloat32m4_t acc = __riscv_vle32_v_f32m4(out, vl);
        __riscv_vse32_v_f32m4(out, finish(acc, a, s, x[0].scales[g], vl), vl);
        acc = __riscv_vle32_v_f32m4(o1, vl);
        __riscv_vse32_v_f32m4(o1, finish(acc, b, s, x[1].scales[g], vl), vl);
        acc = __riscv_vle32_v_f32m4(o2, vl);
        __riscv_vse32_v_f32m4(o2, finish(acc, c, s, x[2].scales[g], vl), vl);
        acc = __riscv_vle32_v_f32m4(o3, vl);
        __riscv_vse32_v_f32m4(o3, finish(acc, d, s, x[3].scales[g], vl), vl);
    }
}

void rvv_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    const uint8_t *tile = kernel_tile(w, row0);
    size_t vl;
    for (uint32_t row = row0; row < row1; row += (uint32_t)vl) {
        vl = __riscv_vsetvl_e8m1(row1 - row);
        uint32_t lane = row % KERNEL_TILE;
        float *out = acc + (row - row0);
        uint32_t t = 0;
        for (; t + 4 <= count; t += 4)
            linear_four(w, tile, lane, vl, x + t, out + t * acc_stride, acc_stride);
        for (; t < count; t++)
            linear_single(w, tile, lane, vl, x + t, out + t * acc_stride);
    }
}

#endif
