/* SPDX-License-Identifier: Apache-2.0 */

/* f32 rows to Q8A. */

#include "ops/ops.h"

#define CHUNK 256u /* columns that a hart takes at a time */

void op_quantize(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_quantize *q = &op->quantize;
    uint32_t chunks = (q->width + CHUNK - 1) / CHUNK;
    uint32_t units = step_count(step, op->domain) * chunks;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / chunks, k = u % chunks * CHUNK;
        uint32_t count = q->width - k < CHUNK ? q->width - k : CHUNK;
        kernels.quantize(op_f32_row(&q->src, row) + k, count, op_q8a_values(&q->dst, row) + k,
                         op_q8a_scales(&q->dst, row) + k / 32, op_q8a_sums(&q->dst, row) + k / 32);
    }
}
