/* SPDX-License-Identifier: Apache-2.0 */

/* Embedding: one row of a table of any format and layout, dequantized. */

#include "gen/image_format.h"
#include "kernels/load.h"
#include "ops/ops.h"

#define CHUNK 64u /* columns that a hart takes at a time */

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
    load_columns(&e->table, row->token, k0, count, dst);
    for (uint32_t k = 0; k < count; k++)
        dst[k] *= e->scale;
    if (!e->positions.data)
        return;
    float position[CHUNK];
    load_columns(&e->positions, row->position, k0, count, position);
    for (uint32_t k = 0; k < count; k++)
        dst[k] += position[k];
}

void op_embed(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_embed *e = &op->embed;
    uint32_t chunks = (e->dim + CHUNK - 1) / CHUNK;
    for (uint32_t u = hart; u < step->row_count * chunks; u += harts) {
        uint32_t row = u / chunks, k0 = u % chunks * CHUNK;
        uint32_t count = e->dim - k0 < CHUNK ? e->dim - k0 : CHUNK;
        embed_columns(e, &step->rows[row], k0, count, op_f32_row(&e->dst, row) + k0);
    }
}
