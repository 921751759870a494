/* SPDX-License-Identifier: Apache-2.0 */

/* Matrix product with its epilogue: bias, activation, gate, residual.
 *
 * Harts share the weight's rows in units of 16, for tiles of 64 are too coarse for small matrices.
 * A tile is the outer loop and blocks of input rows the inner one, so that a tile comes from memory
 * once and from the cache after that.
 */

#include "gen/image_format.h"
#include "kernels/load.h"
#include "ops/activate.h"
#include "ops/ops.h"

#define UNIT  16u /* weight rows: the grain of sharing; two times 8 where gated */
#define BLOCK 8u  /* input rows of one call of a kernel */

/* What a kernel left for one input row: weight rows [row0, row1), in place. */
static void add_bias(const struct op_linear *l, uint32_t row0, uint32_t row1, float *acc)
{
    for (uint32_t i = 0; l->bias && i < row1 - row0; i++)
        acc[i] += l->bias[row0 + i];
}

/* Gate rows activated times up rows, packed to the front. Returns how many are left. */
static uint32_t apply_gate(const struct op_linear *l, uint32_t rows, float *acc)
{
    float gate[KERNEL_TILE / 2];
    for (uint32_t i = 0; i < rows / 2; i++)
        gate[i] = acc[i / 8 * UNIT + i % 8];
    activate(gate, rows / 2, l->activation);
    for (uint32_t i = 0; i < rows / 2; i++)
        acc[i] = gate[i] * acc[i / 8 * UNIT + 8 + i % 8];
    return rows / 2;
}

static void finish_row(const struct op_linear *l, uint32_t t, uint32_t row0, uint32_t row1,
                       float *acc)
{
    uint32_t first = l->gated ? row0 / 2 : row0, count = row1 - row0;
    add_bias(l, row0, row1, acc);
    if (l->gated)
        count = apply_gate(l, count, acc);
    else
        activate(acc, count, l->activation);
    if (first + count > l->n)
        count = l->n - first;
    float *dst = op_f32_row(&l->dst, t) + first;
    if (l->residual.base) {
        const float *residual = op_f32_row(&l->residual, t) + first;
        for (uint32_t i = 0; i < count; i++)
            dst[i] = acc[i] + residual[i];
        return;
    }
    __builtin_memcpy(dst, acc, count * sizeof(float));
}

/* `count` input rows from t0 on against rows [row0, row1) of one tile. */
static void linear_block(const struct op_linear *l, uint32_t t0, uint32_t count, uint32_t row0,
                         uint32_t row1)
{
    float acc[BLOCK][KERNEL_TILE];
    if (l->src_format == IMAGE_FORMAT_Q8A) {
        struct kernel_q8a x[BLOCK];
        for (uint32_t t = 0; t < count; t++)
            x[t] = op_q8a_row(&l->src_q8a, t0 + t);
        kernels.linear_q8a(l->weight.format, l->weight.layout)(&l->weight, x, count, row0, row1,
                                                               acc[0], KERNEL_TILE);
    } else {
        const float *x[BLOCK];
        for (uint32_t t = 0; t < count; t++)
            x[t] = op_f32_row(&l->src_f32, t0 + t);
        kernels.linear_f32(l->weight.format, l->weight.layout)(&l->weight, x, count, row0, row1,
                                                               acc[0], KERNEL_TILE);
    }
    for (uint32_t t = 0; t < count; t++)
        finish_row(l, t0 + t, row0, row1, acc[t]);
}

void op_linear(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_linear *l = &op->linear;
    uint32_t rows = step_count(step, op->domain);
    uint64_t units = ((l->gated ? 2 * l->n : l->n) + UNIT - 1) / UNIT;
    uint32_t row = (uint32_t)(units * hart / harts) * UNIT;
    uint32_t end = (uint32_t)(units * (hart + 1) / harts) * UNIT;
    while (row < end) {
        uint32_t stop = (row / KERNEL_TILE + 1) * KERNEL_TILE;
        stop = stop < end ? stop : end;
        for (uint32_t t = 0; t < rows; t += BLOCK)
            linear_block(l, t, rows - t < BLOCK ? rows - t : BLOCK, row, stop);
        row = stop;
    }
}
