/* SPDX-License-Identifier: Apache-2.0 */

/* The rows whose logits are wanted, in order. */

#include "gen/errors.h"
#include "image/reader.h"

struct OP_BODY op_gather {
    struct op_f32 src;
    struct op_f32 dst;
    uint32_t width;
};
_Static_assert(sizeof(struct op_gather) <= OP_BODY_BYTES, "see op.h");

static void op_gather(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_gather *g = op_body(op);
    for (uint32_t i = hart; i < step->logit_count; i += harts)
        __builtin_memcpy(op_f32_row(&g->dst, i), op_f32_row(&g->src, step->logit_rows[i]),
                         g->width * sizeof(float));
}

static int decode_gather(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_gather o = {.width = image_op_gather_width(p)};
    const uint8_t *src = p + IMAGE_OP_GATHER_SRC_OFFSET, *dst = p + IMAGE_OP_GATHER_DST_OFFSET;

    if (op->domain != IMAGE_DOMAIN_LOGIT_ROWS || reader_check_width(o.width) ||
        reader_read_f32_of(r, src, IMAGE_DOMAIN_ROWS, o.width, &o.src) ||
        reader_write_f32(r, dst, o.width, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_gather = {.version = 1, .decode = decode_gather, .run = op_gather};
