/* SPDX-License-Identifier: Apache-2.0 */

/* Rotary position embedding, in place. */

#include "common/math.h"
#include "gen/errors.h"
#include "image/reader.h"

struct OP_BODY op_rope {
    struct op_f32 x;
    struct op_f32 table;
    uint32_t heads;
    uint32_t head_dim;
    uint32_t rotary; /* even, at most head_dim */
    uint32_t style;  /* IMAGE_ROPE_STYLE_* */
};
_Static_assert(sizeof(struct op_rope) <= OP_BODY_BYTES, "see op.h");

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

static void op_rope(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_rope *r = op_body(op);
    struct op_f32 rows = r->x, tables = r->table;
    uint32_t heads = r->heads, head_dim = r->head_dim, half = r->rotary / 2, style = r->style;
    uint32_t units = step_count(step, op->domain) * heads;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / heads;
        float *x = op_f32_row(&rows, row) + u % heads * head_dim;
        const float *table = op_f32_row(&tables, row);
        if (style == IMAGE_ROPE_STYLE_HALVES)
            rotate(x, table, half, 1, half);
        else
            rotate(x, table, half, 2, 1);
    }
}

/* x is read, and written in place. */
static int decode_rope(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_rope o = {.heads = image_op_rope_heads(p),
                        .head_dim = image_op_rope_head_dim(p),
                        .rotary = image_op_rope_rotary(p),
                        .style = image_op_rope_style(p)};
    uint64_t width = (uint64_t)o.heads * o.head_dim;

    if (op->domain != IMAGE_DOMAIN_ROWS || reader_check_width(o.heads) ||
        reader_check_width(o.head_dim))
        return E_IMAGE_OP;
    if (!o.rotary || o.rotary % 2 || o.rotary > o.head_dim || o.style > IMAGE_ROPE_STYLE_PAIRS)
        return E_IMAGE_OP;
    if (reader_read_f32(r, p + IMAGE_OP_ROPE_TABLE_OFFSET, o.rotary, &o.table) ||
        reader_read_f32_in_place(r, p + IMAGE_OP_ROPE_X_OFFSET, width, &o.x) ||
        reader_write_f32(r, p + IMAGE_OP_ROPE_X_OFFSET, width, &o.x))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_rope = {.version = 1, .decode = decode_rope, .run = op_rope};
