/* SPDX-License-Identifier: Apache-2.0 */

/* The columns of a row in the opposite order. */

#include "gen/errors.h"
#include "image/reader.h"

struct op_mirror {
    struct op_f32 src;
    struct op_f32 dst;
    uint32_t width;
};
_Static_assert(sizeof(struct op_mirror) <= OP_BODY_BYTES, "see image/op.h");

static void op_mirror(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    struct op_mirror body;
    const struct op_mirror *m = op_get(op, &body, sizeof body);
    uint32_t rows = step_count(step, op->domain);
    for (uint32_t row = hart; row < rows; row += harts) {
        const float *x = op_f32_row(&m->src, row);
        float *y = op_f32_row(&m->dst, row);
        for (uint32_t i = 0; i < m->width; i++)
            y[i] = x[m->width - 1 - i];
    }
}

static int decode_mirror(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_mirror o = {.width = image_op_mirror_width(p)};

    if (reader_check_width(o.width) ||
        reader_read_f32(r, p + IMAGE_OP_MIRROR_SRC_OFFSET, o.width, &o.src) ||
        reader_write_f32(r, p + IMAGE_OP_MIRROR_DST_OFFSET, o.width, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_mirror = {.version = 1, .decode = decode_mirror, .run = op_mirror};
