/* SPDX-License-Identifier: Apache-2.0 */

/* 8-bit weights times quantized rows. */

#include "kernels/neon/neon.h"

/* Four columns of a strip. */
NEON_INLINE void load_four(const uint8_t *values, int8x16_t rows[4])
{
    int8x16_t columns[4];
    for (size_t i = 0; i < 4; i++)
        columns[i] = vreinterpretq_s8_u8(vld1q_u8(values + i * KERNEL_TILE));
    neon_transpose(columns, rows);
}

static const struct neon_format q8 = {load_four, 4 * KERNEL_TILE, 0, 0};

void neon_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    neon_linear(q8, w, x, count, row0, row1, acc, acc_stride);
}
