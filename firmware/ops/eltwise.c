/* SPDX-License-Identifier: Apache-2.0 */

/* Element by element: what the compiler's passes did not fold into another op. */

#include "gen/errors.h"
#include "image/reader.h"

#define CHUNK 64u /* columns that a hart takes at a time */

struct OP_BODY op_eltwise {
    struct op_f32 a;
    struct op_f32 b; /* base NULL for ACT and BIAS */
    struct op_f32 dst;
    const float *tensor; /* BIAS */
    uint32_t kind;       /* IMAGE_ELTWISE_* */
    uint32_t activation;
    uint32_t width;
};
_Static_assert(sizeof(struct op_eltwise) <= OP_BODY_BYTES, "see op.h");

/* y = `count` columns of the result from k on. */
static void eltwise_columns(const struct op_eltwise *e, uint32_t row, uint32_t k, uint32_t count,
                            float *y)
{
    const float *a = op_f32_row(&e->a, row) + k;
    const float *b = e->kind == IMAGE_ELTWISE_BIAS ? e->tensor + k
                     : e->b.base                   ? op_f32_row(&e->b, row) + k
                                                   : a;
    __builtin_memcpy(y, a, count * sizeof(float));
    if (e->kind == IMAGE_ELTWISE_ACT || e->kind == IMAGE_ELTWISE_GATE)
        kernels.activate(y, count, e->activation);
    if (e->kind == IMAGE_ELTWISE_ADD || e->kind == IMAGE_ELTWISE_BIAS)
        for (uint32_t i = 0; i < count; i++)
            y[i] += b[i];
    else if (e->kind == IMAGE_ELTWISE_MUL || e->kind == IMAGE_ELTWISE_GATE)
        for (uint32_t i = 0; i < count; i++)
            y[i] *= b[i];
}

static void op_eltwise(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_eltwise *e = op_body(op);
    uint32_t chunks = (e->width + CHUNK - 1) / CHUNK;
    uint32_t units = step_count(step, op->domain) * chunks;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / chunks, k = u % chunks * CHUNK;
        uint32_t count = e->width - k < CHUNK ? e->width - k : CHUNK;
        float y[CHUNK];
        eltwise_columns(e, row, k, count, y);
        __builtin_memcpy(op_f32_row(&e->dst, row) + k, y, count * sizeof(float));
    }
}

/* What a kind does not use says so. */
static int decode_kind(struct reader *r, const uint8_t *p, struct op_eltwise *o)
{
    int acts = o->kind == IMAGE_ELTWISE_ACT || o->kind == IMAGE_ELTWISE_GATE;
    uint32_t tensor = image_op_eltwise_tensor(p);

    if (o->kind > IMAGE_ELTWISE_BIAS || o->activation > IMAGE_ACTIVATION_TANH ||
        (!acts && o->activation != IMAGE_ACTIVATION_NONE))
        return E_IMAGE_OP;
    if (o->kind == IMAGE_ELTWISE_BIAS)
        return reader_vector(r, tensor, o->width, &o->tensor);
    return tensor == IMAGE_NO_TENSOR ? 0 : E_IMAGE_OP;
}

static int decode_eltwise(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_eltwise o = {.kind = image_op_eltwise_kind(p),
                           .activation = image_op_eltwise_activation(p),
                           .width = image_op_eltwise_width(p)};
    const uint8_t *b = p + IMAGE_OP_ELTWISE_B_OFFSET;

    if (reader_check_width(o.width) || decode_kind(r, p, &o) ||
        reader_read_f32_in_place(r, p + IMAGE_OP_ELTWISE_A_OFFSET, o.width, &o.a))
        return E_IMAGE_OP;
    if (o.kind == IMAGE_ELTWISE_ACT || o.kind == IMAGE_ELTWISE_BIAS
            ? reader_no_operand(b)
            : reader_read_f32_in_place(r, b, o.width, &o.b))
        return E_IMAGE_OP;
    if (reader_write_f32(r, p + IMAGE_OP_ELTWISE_DST_OFFSET, o.width, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_eltwise = {.version = 2, .decode = decode_eltwise, .run = op_eltwise};
