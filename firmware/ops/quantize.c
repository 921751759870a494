/* SPDX-License-Identifier: Apache-2.0 */

/* f32 rows to Q8A. */

#include "gen/errors.h"
#include "image/reader.h"

#define CHUNK 256u /* columns that a hart takes at a time */

struct OP_BODY op_quantize {
    struct op_f32 src;
    struct op_q8a dst;
    uint32_t width;
};
_Static_assert(sizeof(struct op_quantize) <= OP_BODY_BYTES, "see op.h");

static void op_quantize(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_quantize *q = op_body(op);
    uint32_t chunks = (q->width + CHUNK - 1) / CHUNK;
    uint32_t units = step_count(step, op->domain) * chunks;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / chunks, k = u % chunks * CHUNK;
        uint32_t count = q->width - k < CHUNK ? q->width - k : CHUNK;
        kernels.quantize(op_f32_row(&q->src, row) + k, count, op_q8a_values(&q->dst, row) + k,
                         op_q8a_scales(&q->dst, row) + k / 32, op_q8a_sums(&q->dst, row) + k / 32);
    }
}

static int decode_quantize(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_quantize o = {.width = image_op_quantize_width(p)};

    if (reader_check_width(o.width) ||
        reader_read_f32(r, p + IMAGE_OP_QUANTIZE_SRC_OFFSET, o.width, &o.src) ||
        reader_write_q8a(r, p + IMAGE_OP_QUANTIZE_DST_OFFSET, o.width, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_quantize = {
    .version = 1, .decode = decode_quantize, .run = op_quantize};
