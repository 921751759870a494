/* SPDX-License-Identifier: Apache-2.0 */

/* Embedding: one row of a table of any format and layout, dequantized. */

#include "formats/formats.h"
#include "gen/errors.h"
#include "image/reader.h"
#include "kernels/load.h"

#define CHUNK 64u /* columns that a hart takes at a time */

/* dst = table[token] * scale (+ positions[position]). Tables are tiled weights of any format, or
 * PLAIN floats; of a PLAIN table `tile_stride` is the bytes from row to row, and rows and cols
 * are not padded. */
struct OP_BODY op_embed {
    struct op_f32 dst;
    struct kernel_weight table;
    struct kernel_weight positions; /* data NULL: none */
    uint32_t dim;
    float scale;
};
_Static_assert(sizeof(struct op_embed) <= OP_BODY_BYTES, "see op.h");

#define INLINE static inline __attribute__((always_inline))

/* `count` columns of a row of a tiled weight in groups. */
INLINE void load_groups(const struct kernel_weight *w, const uint8_t *record, uint32_t row,
                        uint32_t count,
                        int32_t (*value)(const uint8_t *, uint32_t, uint32_t, uint32_t),
                        uint32_t bytes, int minimum, float *to)
{
    float scale = 0.0f, least = 0.0f;
    for (uint32_t k = 0; k < count; k++) {
        if (k && k % KERNEL_GROUP == 0)
            record += w->record;
        if (k % KERNEL_GROUP == 0) {
            scale = load_bf16(record + bytes, row);
            least = minimum ? load_bf16(record + bytes + 2 * KERNEL_TILE, row) : 0.0f;
        }
        float v = (float)value(record, w->layout, row, k % KERNEL_GROUP) * scale;
        to[k] = minimum ? v + least : v;
    }
}

/* `count` floats, `step` bytes apart. */
INLINE void load_floats(const uint8_t *p, size_t step, uint32_t count,
                        float (*value)(const uint8_t *), float *to)
{
    for (uint32_t k = 0; k < count; k++, p += step)
        to[k] = value(p);
}

#define LOAD_GROUPS(name, NAME, bytes, limit, minimum)                                             \
    case IMAGE_FORMAT_##NAME:                                                                      \
        load_groups(w, tile + k0 / KERNEL_GROUP * (size_t)w->record, lane, count,                  \
                    format_##name##_value, bytes, minimum, to);                                    \
        return;
#define LOAD_FLOATS(name, NAME, bytes)                                                             \
    case IMAGE_FORMAT_##NAME:                                                                      \
        load_floats((plain ? w->data + row * w->tile_stride : tile + lane * bytes) +               \
                        k0 * (size_t)w->record,                                                    \
                    w->record, count, format_##name##_value, to);                                  \
        return;

/* Columns [k0, k0 + count) of a row; k0 is a multiple of 32. */
static void load_columns(const struct kernel_weight *w, uint32_t row, uint32_t k0, uint32_t count,
                         float *to)
{
    int plain = w->layout == IMAGE_LAYOUT_PLAIN;
    const uint8_t *tile = kernel_tile(w, row);
    uint32_t lane = row % KERNEL_TILE;
    switch (w->format) {
        FORMATS_GROUPS(LOAD_GROUPS)
        FORMATS_FLOATS(LOAD_FLOATS)
    }
}

static void embed_columns(const struct op_embed *e, const struct step_row *row, uint32_t k0,
                          uint32_t count, float *dst)
{
    struct kernel_weight table = e->table, positions = e->positions;
    float position[CHUNK], scale = e->scale;
    load_columns(&table, row->token, k0, count, dst);
    for (uint32_t k = 0; k < count; k++)
        dst[k] *= scale;
    if (!positions.data)
        return;
    load_columns(&positions, row->position, k0, count, position);
    for (uint32_t k = 0; k < count; k++)
        dst[k] += position[k];
}

static void op_embed(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_embed *e = op_body(op);
    uint32_t chunks = (e->dim + CHUNK - 1) / CHUNK;
    for (uint32_t u = hart; u < step->row_count * chunks; u += harts) {
        uint32_t row = u / chunks, k0 = u % chunks * CHUNK;
        uint32_t count = e->dim - k0 < CHUNK ? e->dim - k0 : CHUNK;
        embed_columns(e, &step->rows[row], k0, count, op_f32_row(&e->dst, row) + k0);
    }
}

static int decode_embed(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_embed o = {.dim = image_op_embed_dim(p), .scale = image_op_embed_scale(p)};
    uint32_t positions = image_op_embed_positions(p);

    if (op->domain != IMAGE_DOMAIN_ROWS || reader_check_width(o.dim) ||
        reader_check_float(o.scale, -1e6f, 1e6f))
        return E_IMAGE_OP;
    if (reader_table(r, image_op_embed_table(p), r->plan->vocab, o.dim, &o.table))
        return E_IMAGE_OP;
    if (positions != IMAGE_NO_TENSOR) {
        /* Positions run on beyond any table once the oldest are overwritten. */
        if (r->plan->overflow != IMAGE_OVERFLOW_STOP)
            return E_IMAGE_OP;
        if (reader_table(r, positions, r->plan->context, o.dim, &o.positions))
            return E_IMAGE_OP;
    }
    if (reader_write_f32(r, p + IMAGE_OP_EMBED_DST_OFFSET, o.dim, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_embed = {.version = 1, .decode = decode_embed, .run = op_embed};
