/* SPDX-License-Identifier: Apache-2.0 */

/* RMS and layer norm of the segments of a row, to f32 or quantized at once. */

#include "common/math.h"
#include "gen/image_format.h"
#include "ops/ops.h"

#define CHUNK 256u /* columns normalized on the stack before they are quantized */

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

void op_norm(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_norm *n = &op->norm;
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
