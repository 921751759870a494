/* SPDX-License-Identifier: Apache-2.0 */

/* Rotary position embedding, in place. */

#include "common/math.h"
#include "gen/image_format.h"
#include "ops/ops.h"

/* The pair (x[i * step], x[i * step + apart]) for i below half. */
static void rotate(float *x, const float *table, uint32_t half, uint32_t step, uint32_t apart)
{
    const float *cosines = table, *sines = table + half;
    for (uint32_t i = 0; i < half; i++) {
        float *a = &x[i * step], *b = a + apart;
        float x0 = *a, x1 = *b;
        *a = math_fma(x0, cosines[i], -(x1 * sines[i]));
        *b = math_fma(x1, cosines[i], x0 * sines[i]);
    }
}

void op_rope(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_rope *r = &op->rope;
    uint32_t half = r->rotary / 2;
    uint32_t units = step_count(step, op->domain) * r->heads;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / r->heads;
        float *x = op_f32_row(&r->x, row) + u % r->heads * r->head_dim;
        const float *table = op_f32_row(&r->table, row);
        if (r->style == IMAGE_ROPE_STYLE_HALVES)
            rotate(x, table, half, 1, half);
        else
            rotate(x, table, half, 2, 1);
    }
}
