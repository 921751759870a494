/* SPDX-License-Identifier: Apache-2.0 */

/* Cosines and sines of the rows' positions, once a step for all layers. */

#include "common/math.h"
#include "ops/ops.h"

#define CHUNK 16u /* frequencies that a hart takes at a time */

void op_rope_table(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_rope_table *r = &op->rope_table;
    uint32_t chunks = (r->half + CHUNK - 1) / CHUNK;
    for (uint32_t u = hart; u < step->row_count * chunks; u += harts) {
        uint32_t row = u / chunks, first = u % chunks * CHUNK;
        uint32_t end = first + CHUNK < r->half ? first + CHUNK : r->half;
        float *cosines = op_f32_row(&r->dst, row), *sines = cosines + r->half;
        float position = (float)step->rows[row].position;
        for (uint32_t i = first; i < end; i++) {
            float s, c;
            math_sincos(position * r->frequencies[i], &s, &c);
            cosines[i] = c * r->scale;
            sines[i] = s * r->scale;
        }
    }
}
