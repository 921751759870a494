/* SPDX-License-Identifier: Apache-2.0 */

/* Cosines and sines of the rows' positions, once a step for all layers. */

#include "common/math.h"
#include "gen/errors.h"
#include "image/reader.h"

#define CHUNK 16u /* frequencies that a hart takes at a time */

/* dst = cos(position * frequency[i]) * scale for i below half, then the sines. */
struct OP_BODY op_rope_table {
    struct op_f32 dst;
    const float *frequencies;
    uint32_t half;
    float scale;
};
_Static_assert(sizeof(struct op_rope_table) <= OP_BODY_BYTES, "see op.h");

/* Frequencies [first, end) of one position. */
static void fill(const float *restrict frequencies, float position, float scale, uint32_t first,
                 uint32_t end, float *restrict cosines, float *restrict sines)
{
    for (uint32_t i = first; i < end; i++) {
        float s, c;
        math_sincos(position * frequencies[i], &s, &c);
        cosines[i] = c * scale;
        sines[i] = s * scale;
    }
}

static void op_rope_table(const struct op *op, const struct step *step, uint32_t hart,
                          uint32_t harts)
{
    const struct op_rope_table *r = op_body(op);
    uint32_t chunks = (r->half + CHUNK - 1) / CHUNK;
    for (uint32_t u = hart; u < step->row_count * chunks; u += harts) {
        uint32_t row = u / chunks, first = u % chunks * CHUNK;
        uint32_t end = first + CHUNK < r->half ? first + CHUNK : r->half;
        float *cosines = op_f32_row(&r->dst, row), *sines = cosines + r->half;
        fill(r->frequencies, (float)step->rows[row].position, r->scale, first, end, cosines, sines);
    }
}

static int decode_rope_table(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_rope_table o = {.half = image_op_rope_table_half(p),
                              .scale = image_op_rope_table_scale(p)};

    if (op->domain != IMAGE_DOMAIN_ROWS || reader_check_width(o.half) ||
        o.half > LIMIT_HEAD_DIM / 2 || reader_check_float(o.scale, 1e-6f, 1e6f))
        return E_IMAGE_OP;
    if (reader_vector(r, image_op_rope_table_frequencies(p), o.half, &o.frequencies) ||
        reader_write_f32(r, p + IMAGE_OP_ROPE_TABLE_DST_OFFSET, 2ull * o.half, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_rope_table = {
    .version = 1, .decode = decode_rope_table, .run = op_rope_table};
