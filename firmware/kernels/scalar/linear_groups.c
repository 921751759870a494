/* SPDX-License-Identifier: Apache-2.0 */

/* Q4, Q4M and Q8 weights in layout RVV: 16 rows at a time, rows as lanes.
 *
 * The integer accumulators of a group are 16 bits wide for 4-bit weights: they start at -8 times
 * the sum of the activations and wrap, for the true sum is at most 32 * 8 * 127 = 32512. Two Q8
 * products are at most 32258 and are added in 16 bits before they are widened.
 */

#include "kernels/load.h"
#include "kernels/scalar/scalar.h"

#define LANES  16u
#define COLUMN (2u * KERNEL_TILE) /* bytes from one pair of Q8 columns to the next */

#define INLINE static inline __attribute__((always_inline))

/* sums[t][i] = sum over a group of (n - 8) * q for nibbles n of row i. */
INLINE void group_q4(const uint8_t *values, const struct kernel_q8a *x, uint32_t g, uint32_t count,
                     int32_t (*sums)[LANES])
{
    int16_t acc[4][LANES];
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < LANES; i++)
            acc[t][i] = (int16_t)(-8u * (uint32_t)x[t].sums[g]);
    for (uint32_t p = 0; p < KERNEL_GROUP / 2; p++, values += KERNEL_TILE)
        for (size_t t = 0; t < count; t++) {
            const int8_t *q = x[t].values + g * KERNEL_GROUP + 2 * p;
            for (size_t i = 0; i < LANES; i++)
                acc[t][i] =
                    (int16_t)(acc[t][i] + (values[i] & 15) * q[0] + (values[i] >> 4) * q[1]);
        }
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < LANES; i++)
            sums[t][i] = acc[t][i];
}

/* sums[t][i] = sum over a group of w * q. */
INLINE void group_q8(const int8_t *values, const struct kernel_q8a *x, uint32_t g, uint32_t count,
                     int32_t (*sums)[LANES])
{
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < LANES; i++)
            sums[t][i] = 0;
    for (uint32_t p = 0; p < KERNEL_GROUP / 2; p++, values += COLUMN)
        for (size_t t = 0; t < count; t++) {
            const int8_t *q = x[t].values + g * KERNEL_GROUP + 2 * p;
            for (size_t i = 0; i < LANES; i++)
                sums[t][i] += (int16_t)(values[i] * q[0] + values[i + KERNEL_TILE] * q[1]);
        }
}

/* `count` input rows against rows [row, row + 16); count, bits and minimum are constants. */
INLINE void linear_block(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                         uint32_t row, float *acc, uint32_t acc_stride, int bits, int minimum)
{
    size_t lane = row % KERNEL_TILE;
    const uint8_t *record = kernel_tile(w, row);
    float total[4][LANES] = {0};
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
        const uint8_t *scales = record + KERNEL_TILE * KERNEL_GROUP * (uint32_t)bits / 8;
        int32_t sums[4][LANES];
        if (bits == 4)
            group_q4(record + lane, x, g, count, sums);
        else
            group_q8((const int8_t *)record + lane, x, g, count, sums);
        for (size_t t = 0; t < count; t++) {
            float scale = x[t].scales[g];
            float offset = scale * (float)x[t].sums[g];
            for (size_t i = 0; i < LANES; i++) {
                float s = scale * kernel_load_bf16(scales, lane + i);
                total[t][i] = __builtin_fmaf((float)sums[t][i], s, total[t][i]);
            }
            for (size_t i = 0; minimum && i < LANES; i++) {
                float m = kernel_load_bf16(scales + 2 * KERNEL_TILE, lane + i);
                total[t][i] = __builtin_fmaf(m, offset, total[t][i]);
            }
        }
    }
    for (size_t t = 0; t < count; t++)
        __builtin_memcpy(acc + t * acc_stride, total[t], sizeof total[t]);
}

INLINE void linear(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride, int bits,
                   int minimum)
{
    for (uint32_t row = row0; row < row1; row += LANES) {
        float *out = acc + (row - row0);
        uint32_t t = 0;
        for (; t + 4 <= count; t += 4)
            linear_block(w, x + t, 4, row, out + t * acc_stride, acc_stride, bits, minimum);
        for (; t < count; t++)
            linear_block(w, x + t, 1, row, out + t * acc_stride, acc_stride, bits, minimum);
    }
}

void scalar_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                      uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 4, 0);
}

void scalar_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                       uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 4, 1);
}

void scalar_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                      uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 8, 0);
}
