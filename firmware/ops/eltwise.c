/* SPDX-License-Identifier: Apache-2.0 */

/* Element by element: what the compiler's passes did not fold into another op. */

#include "gen/image_format.h"
#include "ops/ops.h"

#define CHUNK 64u /* columns that a hart takes at a time */

/* y = `count` columns of the result from k on. */
static void eltwise_columns(const struct op_eltwise *e, uint32_t row, uint32_t k, uint32_t count,
                            float *y)
{
    const float *a = op_f32_row(&e->a, row) + k;
    const float *b = e->kind == IMAGE_ELTWISE_BIAS ? e->tensor + k
                     : e->b.base                   ? op_f32_row(&e->b, row) + k
                                                   : a;
    __builtin_memcpy(y, a, count * sizeof(float));
    if (e->kind == IMAGE_ELTWISE_ACT || e->kind == IMAGE_ELTWISE_GATE)
        kernels.activate(y, count, e->activation);
    if (e->kind == IMAGE_ELTWISE_ADD || e->kind == IMAGE_ELTWISE_BIAS)
        for (uint32_t i = 0; i < count; i++)
            y[i] += b[i];
    else if (e->kind == IMAGE_ELTWISE_MUL || e->kind == IMAGE_ELTWISE_GATE)
        for (uint32_t i = 0; i < count; i++)
            y[i] *= b[i];
}

void op_eltwise(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_eltwise *e = &op->eltwise;
    uint32_t chunks = (e->width + CHUNK - 1) / CHUNK;
    uint32_t units = step_count(step, op->domain) * chunks;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / chunks, k = u % chunks * CHUNK;
        uint32_t count = e->width - k < CHUNK ? e->width - k : CHUNK;
        float y[CHUNK];
        eltwise_columns(e, row, k, count, y);
        __builtin_memcpy(op_f32_row(&e->dst, row) + k, y, count * sizeof(float));
    }
}
