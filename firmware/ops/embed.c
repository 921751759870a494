/* SPDX-License-Identifier: Apache-2.0 */

/* Embedding: one row of a table of any format and layout, dequantized. */

#include "gen/errors.h"
#include "image/reader.h"
#include "kernels/load.h"

#define CHUNK 64u /* columns that a hart takes at a time */

/* dst = table[token] * scale (+ positions[position]). Tables are tiled weights of any format, or
 * PLAIN F32 or BF16; of a PLAIN table `tile_stride` is the bytes from row to row, and rows and cols
 * are not padded. */
struct OP_BODY op_embed {
    struct op_f32 dst;
    struct kernel_weight table;
    struct kernel_weight positions; /* data NULL: none */
    uint32_t dim;
    float scale;
};
_Static_assert(sizeof(struct op_embed) <= OP_BODY_BYTES, "see op.h");

/* Value k of a Q4 or Q4M record's row, in 0..15. */
static uint32_t record_nibble(const uint8_t *record, uint32_t layout, uint32_t row, uint32_t k)
{
    if (layout == IMAGE_LAYOUT_RVV)
        return record[k / 2 * KERNEL_TILE + row] >> (4 * (k % 2)) & 15u;
    uint64_t word = kernel_load_u64(record + 16 * row + 8 * (k / 16));
    return (uint32_t)(word >> (16 * (k % 4) + 4 * (k / 4 % 4))) & 15u;
}

/* Value k of a Q8 record's row. */
static int32_t record_byte(const uint8_t *record, uint32_t layout, uint32_t row, uint32_t k)
{
    if (layout == IMAGE_LAYOUT_RVV)
        return (int8_t)record[k * KERNEL_TILE + row];
    return (int32_t)record[row * KERNEL_GROUP + k] - 128;
}

/* `count` columns of one group of a tiled quantized weight. */
static void load_group(const struct kernel_weight *w, const uint8_t *record, uint32_t row,
                       uint32_t count, float *to)
{
    int is_q8 = w->format == IMAGE_FORMAT_Q8;
    const uint8_t *scales = record + KERNEL_TILE * KERNEL_GROUP / (is_q8 ? 1 : 2) + 2 * row;
    float scale = kernel_load_bf16(scales, 0);
    float minimum =
        w->format == IMAGE_FORMAT_Q4M ? kernel_load_bf16(scales + 2 * KERNEL_TILE, 0) : 0.0f;
    for (uint32_t k = 0; k < count; k++) {
        int32_t q = is_q8 ? record_byte(record, w->layout, row, k)
                          : (int32_t)record_nibble(record, w->layout, row, k) - 8;
        float v = (float)q * scale;
        to[k] = w->format == IMAGE_FORMAT_Q4M ? v + minimum : v;
    }
}

static int is_float(uint32_t format)
{
    return format == IMAGE_FORMAT_F32 || format == IMAGE_FORMAT_BF16;
}

/* Columns [k0, k0 + count) of a row; k0 is a multiple of 32. */
static void load_columns(const struct kernel_weight *w, uint32_t row, uint32_t k0, uint32_t count,
                         float *to)
{
    uint32_t lane = row % KERNEL_TILE;
    uint32_t bytes = w->format == IMAGE_FORMAT_F32 ? 4 : 2;
    if (is_float(w->format)) {
        int plain = w->layout == IMAGE_LAYOUT_PLAIN;
        const uint8_t *first =
            plain ? w->data + row * w->tile_stride : kernel_tile(w, row) + lane * bytes;
        size_t step = plain ? bytes : w->record;
        const uint8_t *p = first + k0 * step;
        for (uint32_t k = 0; k < count; k++, p += step)
            to[k] = bytes == 4 ? kernel_load_f32(p, 0) : kernel_load_bf16(p, 0);
        return;
    }
    const uint8_t *record = kernel_tile(w, row) + (size_t)(k0 / KERNEL_GROUP) * w->record;
    for (uint32_t k = 0; k < count; k += KERNEL_GROUP, record += w->record)
        load_group(w, record, lane, count - k < KERNEL_GROUP ? count - k : KERNEL_GROUP, to + k);
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
