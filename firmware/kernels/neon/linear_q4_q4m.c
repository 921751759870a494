/* SPDX-License-Identifier: Apache-2.0 */

/* 4-bit weights times quantized rows: nibbles are taken as 0..15, and 8 times the group's sum is
 * taken off first. */

#include "kernels/neon/neon.h"

#define ZERO 8 /* the nibble of value 0 */

/* Four columns of a strip; a byte has two of them, the first one below. */
NEON_INLINE void load_four(const uint8_t *values, int8x16_t rows[4])
{
    int8x16_t columns[4];
    for (size_t i = 0; i < 2; i++) {
        uint8x16_t both = vld1q_u8(values + i * KERNEL_TILE);
        columns[2 * i] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
        columns[2 * i + 1] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
    }
    neon_transpose(columns, rows);
}

static const struct neon_format q4 = {load_four, 2 * KERNEL_TILE, ZERO, 0};
static const struct neon_format q4m = {load_four, 2 * KERNEL_TILE, ZERO, 1};

void neon_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    neon_linear(q4, w, x, count, row0, row1, acc, acc_stride);
}

void neon_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                     uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    neon_linear(q4m, w, x, count, row0, row1, acc, acc_stride);
}
