/* SPDX-License-Identifier: Apache-2.0 */

/* cap * tanh(x / cap), element by element. */

#include "gen/errors.h"
#include "image/reader.h"

#define CHUNK 64u /* columns that a hart takes at a time */

struct OP_BODY op_cap {
    struct op_f32 src;
    struct op_f32 dst;
    uint32_t width;
    float cap;
};
_Static_assert(sizeof(struct op_cap) <= OP_BODY_BYTES, "see op.h");

static void op_cap(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_cap *c = op_body(op);
    float cap = c->cap;
    uint32_t chunks = (c->width + CHUNK - 1) / CHUNK;
    uint32_t units = step_count(step, op->domain) * chunks;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / chunks, k = u % chunks * CHUNK;
        uint32_t count = c->width - k < CHUNK ? c->width - k : CHUNK;
        const float *x = op_f32_row(&c->src, row) + k;
        float y[CHUNK];
        for (uint32_t i = 0; i < count; i++)
            y[i] = x[i] / cap;
        kernels.activate(y, count, IMAGE_ACTIVATION_TANH);
        for (uint32_t i = 0; i < count; i++)
            y[i] *= cap;
        __builtin_memcpy(op_f32_row(&c->dst, row) + k, y, count * sizeof(float));
    }
}

static int decode_cap(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_cap o = {.width = image_op_cap_width(p), .cap = image_op_cap_cap(p)};

    if (reader_check_width(o.width) || reader_check_float(o.cap, 1e-3f, 1e6f) ||
        reader_read_f32_in_place(r, p + IMAGE_OP_CAP_SRC_OFFSET, o.width, &o.src) ||
        reader_write_f32(r, p + IMAGE_OP_CAP_DST_OFFSET, o.width, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_cap = {.version = 1, .decode = decode_cap, .run = op_cap};
