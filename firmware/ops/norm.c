/* SPDX-License-Identifier: Apache-2.0 */

/* RMS and layer norm of the segments of a row, to f32 or quantized at once. */

#include "common/math.h"
#include "gen/errors.h"
#include "image/reader.h"

#define CHUNK 256u /* columns normalized on the stack before they are quantized */

struct OP_BODY op_norm {
    struct op_f32 src;
    struct op_f32 dst;     /* where dst_format is F32; may be src */
    struct op_q8a dst_q8a; /* where dst_format is Q8A; one segment */
    const float *weight;   /* NULL: none */
    const float *bias;     /* NULL: none */
    uint32_t kind;         /* IMAGE_NORM_KIND_* */
    uint32_t width;        /* of a segment; a row has segments * width floats */
    uint32_t segments;
    float eps;
    uint32_t dst_format;
};
_Static_assert(sizeof(struct op_norm) <= OP_BODY_BYTES, "see op.h");

struct moments {
    float mean;
    float inverse; /* 1 / sqrt(variance + eps) */
};

static struct moments norm_moments(const struct op_norm *n, const float *x)
{
    float width = (float)n->width;
    struct moments m = {0.0f, 0.0f};
    if (n->kind == IMAGE_NORM_KIND_LAYER)
        m.mean = kernels.sum(x, n->width) / width;
    m.inverse = 1.0f / math_sqrt(kernels.sum_squares(x, m.mean, n->width) / width + n->eps);
    return m;
}

/* `count` columns from k0 on. */
static void norm_columns(const struct op_norm *n, const struct moments *m, const float *x,
                         uint32_t k0, uint32_t count, float *y)
{
    kernels.normalize(x + k0, count, m->mean, m->inverse, n->weight ? n->weight + k0 : NULL,
                      n->bias ? n->bias + k0 : NULL, y);
}

static void norm_quantized(const struct op_norm *n, const struct moments *m, const float *x,
                           uint32_t row)
{
    int8_t *values = op_q8a_values(&n->dst_q8a, row);
    float *scales = op_q8a_scales(&n->dst_q8a, row);
    int32_t *sums = op_q8a_sums(&n->dst_q8a, row);
    for (uint32_t k = 0; k < n->width; k += CHUNK) {
        float y[CHUNK];
        uint32_t count = n->width - k < CHUNK ? n->width - k : CHUNK;
        norm_columns(n, m, x, k, count, y);
        kernels.quantize(y, count, values + k, scales + k / 32, sums + k / 32);
    }
}

static void op_norm(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_norm *n = op_body(op);
    uint32_t units = step_count(step, op->domain) * n->segments;
    for (uint32_t u = hart; u < units; u += harts) {
        uint32_t row = u / n->segments, offset = u % n->segments * n->width;
        const float *x = op_f32_row(&n->src, row) + offset;
        struct moments m = norm_moments(n, x);
        if (n->dst_format == IMAGE_FORMAT_Q8A)
            norm_quantized(n, &m, x, row);
        else
            norm_columns(n, &m, x, 0, n->width, op_f32_row(&n->dst, row) + offset);
    }
}

static int decode_norm(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_norm o = {.kind = image_op_norm_kind(p),
                        .width = image_op_norm_width(p),
                        .segments = image_op_norm_segments(p),
                        .eps = image_op_norm_eps(p),
                        .dst_format = image_op_norm_dst_format(p)};
    const uint8_t *src = p + IMAGE_OP_NORM_SRC_OFFSET, *dst = p + IMAGE_OP_NORM_DST_OFFSET;
    uint64_t width = (uint64_t)o.width * o.segments;

    if (o.kind > IMAGE_NORM_KIND_LAYER || reader_check_width(o.width) ||
        reader_check_width(o.segments) || reader_check_float(o.eps, 1e-30f, 1.0f))
        return E_IMAGE_OP;
    if (reader_read_f32_in_place(r, src, width, &o.src) ||
        reader_optional_vector(r, image_op_norm_weight(p), o.width, &o.weight) ||
        reader_optional_vector(r, image_op_norm_bias(p), o.width, &o.bias))
        return E_IMAGE_OP;
    if (o.dst_format != IMAGE_FORMAT_F32 && (o.dst_format != IMAGE_FORMAT_Q8A || o.segments != 1))
        return E_IMAGE_OP;
    if (o.dst_format == IMAGE_FORMAT_F32 ? reader_write_f32(r, dst, width, &o.dst)
                                         : reader_write_q8a(r, dst, o.width, &o.dst_q8a))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_norm = {.version = 1, .decode = decode_norm, .run = op_norm};
