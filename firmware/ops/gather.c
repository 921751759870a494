/* SPDX-License-Identifier: Apache-2.0 */

/* The rows whose logits are wanted, in order. */

#include "ops/ops.h"

void op_gather(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_gather *g = &op->gather;
    for (uint32_t i = hart; i < step->logit_count; i += harts)
        __builtin_memcpy(op_f32_row(&g->dst, i), op_f32_row(&g->src, step->logit_rows[i]),
                         g->width * sizeof(float));
}
