/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_NEON_NEON_H
#define KERNELS_NEON_NEON_H

/* What the NEON kernels share: AArch64 with the dot product of bytes, layout RVV.
 *
 * SDOT adds four products to each of four sums, so it wants four columns of a row behind one
 * another, and the layout has the rows of a column so: four columns of 16 rows, a strip, are
 * transposed as they are loaded. A block is four input rows and a strip, or one and one or two
 * strips, of which all sums stay in registers.
 */

#include <arm_neon.h>

#include "kernels/load.h"

#define NEON_STRIP  16u
#define NEON_STRIPS 2u
#define NEON_BLOCK  4u /* input rows at a time */

#define NEON_INLINE static inline __attribute__((always_inline))

/* How a format is read; all constants wherever this is inlined. */
struct neon_format {
    void (*load)(const uint8_t *values, int8x16_t rows[4]); /* four columns of a strip */
    uint32_t bytes;                                         /* of a record's four columns */
    int32_t zero;                                           /* what is loaded for the value 0 */
    int minimum;                                            /* whether there are minima */
};

/* Of one input row and a strip: 4 times 4 rows, of a group and of all. */
struct neon_sums {
    int32x4_t rows[4];
};
struct neon_total {
    float32x4_t rows[4];
};

/* Columns of a strip to vectors of 4 rows, the four columns of each behind one another. */
NEON_INLINE void neon_transpose(const int8x16_t columns[4], int8x16_t rows[4])
{
    for (size_t half = 0; half < 2; half++) {
        int8x16_t ab = half ? vzip2q_s8(columns[0], columns[1]) : vzip1q_s8(columns[0], columns[1]);
        int8x16_t cd = half ? vzip2q_s8(columns[2], columns[3]) : vzip1q_s8(columns[2], columns[3]);
        int16x8_t first = vreinterpretq_s16_s8(ab), second = vreinterpretq_s16_s8(cd);
        rows[2 * half] = vreinterpretq_s8_s16(vzip1q_s16(first, second));
        rows[2 * half + 1] = vreinterpretq_s8_s16(vzip2q_s16(first, second));
    }
}

/* Adds the products with columns k to k + 3 of an input row. */
NEON_INLINE void neon_add_four(const int8x16_t rows[4], const struct kernel_q8a *x, size_t k,
                               struct neon_sums *sums)
{
    int32_t four;
    __builtin_memcpy(&four, x->values + k, sizeof four);
    int8x16_t q = vreinterpretq_s8_s32(vdupq_n_s32(four));
    for (size_t i = 0; i < 4; i++)
        sums->rows[i] = vdotq_s32(sums->rows[i], rows[i], q);
}

/* Four bf16 as floats. */
NEON_INLINE float32x4_t neon_load_bf16(const uint8_t *values)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(values)), 16));
}

/* total += sums * scales of a strip in group g of x, and where there are minima += their offset. */
NEON_INLINE void neon_add_scaled(const struct kernel_q8a *x, uint32_t g,
                                 const struct neon_sums *sums, const uint8_t *scales,
                                 const uint8_t *minima, struct neon_total *total)
{
    float32x4_t offset = vdupq_n_f32(x->scales[g] * (float)x->sums[g]);
    for (size_t i = 0; i < 4; i++) {
        float32x4_t s = vmulq_n_f32(neon_load_bf16(scales + 8 * i), x->scales[g]);
        total->rows[i] = vfmaq_f32(total->rows[i], vcvtq_f32_s32(sums->rows[i]), s);
        if (minima)
            total->rows[i] = vfmaq_f32(total->rows[i], neon_load_bf16(minima + 8 * i), offset);
    }
}

/* Sums of a group; what its zeros add is taken off first. */
NEON_INLINE void neon_add_group(struct neon_format format, const uint8_t *values,
                                const struct kernel_q8a *x, uint32_t g, uint32_t count,
                                uint32_t strips, struct neon_sums (*sums)[NEON_BLOCK])
{
    for (size_t s = 0; s < strips; s++)
        for (size_t t = 0; t < count; t++)
            for (size_t i = 0; i < 4; i++)
                sums[s][t].rows[i] = vdupq_n_s32(-format.zero * x[t].sums[g]);
    for (size_t k = 0; k < KERNEL_GROUP; k += 4, values += format.bytes)
        for (size_t s = 0; s < strips; s++) {
            int8x16_t rows[4];
            format.load(values + s * NEON_STRIP, rows);
            for (size_t t = 0; t < count; t++)
                neon_add_four(rows, &x[t], (size_t)g * KERNEL_GROUP + k, &sums[s][t]);
        }
}

/* `count` input rows against `strips` strips from `row` on; both are constants, too. */
NEON_INLINE void neon_block(struct neon_format format, const struct kernel_weight *w,
                            const struct kernel_q8a *x, uint32_t count, uint32_t row,
                            uint32_t strips, float *acc, uint32_t acc_stride)
{
    size_t lane = row % KERNEL_TILE;
    const uint8_t *record = kernel_tile(w, row);
    struct neon_total total[NEON_STRIPS][NEON_BLOCK] = {0};
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
        const uint8_t *scales = record + format.bytes * KERNEL_GROUP / 4 + 2 * lane;
        struct neon_sums sums[NEON_STRIPS][NEON_BLOCK];
        neon_add_group(format, record + lane, x, g, count, strips, sums);
        for (size_t s = 0; s < strips; s++)
            for (size_t t = 0; t < count; t++) {
                const uint8_t *at = scales + 2 * NEON_STRIP * s;
                neon_add_scaled(&x[t], g, &sums[s][t], at,
                                format.minimum ? at + 2 * KERNEL_TILE : 0, &total[s][t]);
            }
    }
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < 4 * (size_t)strips; i++)
            vst1q_f32(acc + t * acc_stride + 4 * i, total[i / 4][t].rows[i % 4]);
}

/* kernel_linear_q8a by blocks. */
NEON_INLINE void neon_linear(struct neon_format format, const struct kernel_weight *w,
                             const struct kernel_q8a *x, uint32_t count, uint32_t row0,
                             uint32_t row1, float *acc, uint32_t acc_stride)
{
    while (row0 < row1) {
        uint32_t strips = row1 - row0 < NEON_STRIPS * NEON_STRIP ? 1 : NEON_STRIPS;
        uint32_t t = 0;
        for (; t + NEON_BLOCK <= count; t += NEON_BLOCK)
            for (uint32_t i = 0; i < strips * NEON_STRIP; i += NEON_STRIP)
                neon_block(format, w, x + t, NEON_BLOCK, row0 + i, 1,
                           acc + (size_t)t * acc_stride + i, acc_stride);
        for (; t < count; t++) {
            float *to = acc + (size_t)t * acc_stride;
            if (strips == NEON_STRIPS)
                neon_block(format, w, x + t, 1, row0, NEON_STRIPS, to, acc_stride);
            else
                neon_block(format, w, x + t, 1, row0, 1, to, acc_stride);
        }
        row0 += strips * NEON_STRIP;
        acc += strips * NEON_STRIP;
    }
}

#endif
