/* SPDX-License-Identifier: Apache-2.0 */

/* Scores and values of one page and one KV head: the rule as it reads, in loops that compilers make
 * vectors of. Queries are packed as int8 [queries][head_dim], weights as int16 [queries][64]. */

#include "common/math.h"
#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/scalar/scalar.h"

#define CHUNK 8u  /* dimensions whose accumulators stay in registers */
#define WIDE  32u /* the same, where compilers make vectors of them */

float scalar_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step)
{
    float inverse;
    float scale = quantize_scale(quantize_amax(x, head_dim), &inverse);
    for (size_t i = 0; i < head_dim; i++)
        to[i * step] = (int8_t)quantize_value(x[i], inverse);
    return scale;
}

/* ---- scores ---- */

void scalar_pack_queries(const int8_t *q, uint32_t queries, uint32_t head_dim, void *packed)
{
    __builtin_memcpy(packed, q, (size_t)queries * head_dim);
}

/* Sums of two products fit 16 bits. */
static void dot_i8(const int8_t *q, const int8_t *key, uint32_t head_dim, int32_t *out)
{
    int32_t sums[KERNEL_TILE] = {0};
    for (uint32_t d = 0; d < head_dim; d += 2, key += 2 * KERNEL_TILE)
        for (uint32_t j = 0; j < KERNEL_TILE; j++)
            sums[j] += (int16_t)(key[j] * q[d] + key[j + KERNEL_TILE] * q[d + 1]);
    __builtin_memcpy(out, sums, sizeof sums);
}

void scalar_score_i8(const void *packed, const float *scales, uint32_t queries, const int8_t *k,
                     const float *key_scales, uint32_t head_dim, uint32_t count, float *out)
{
    const int8_t *q = packed;
    for (uint32_t h = 0; h < queries; h++, q += head_dim, out += KERNEL_TILE) {
        int32_t dots[KERNEL_TILE];
        dot_i8(q, k, head_dim, dots);
        for (uint32_t j = 0; j < count; j++)
            out[j] = (float)dots[j] * (scales[h] * key_scales[j]);
    }
}

/* ---- weights ---- */

void scalar_softmax(float *x, uint32_t queries, uint32_t count, float *max, float *sum)
{
    for (uint32_t h = 0; h < queries; h++, x += KERNEL_TILE) {
        float most = max[h];
        for (uint32_t j = 0; j < count; j++)
            most = QUANTIZE_MAX(x[j], most);
        for (uint32_t j = 0; j < count; j++)
            x[j] = math_exp2(x[j] - most);
        max[h] = most;
        sum[h] = scalar_sum(x, count);
    }
}

void scalar_weigh_i8(float *x, uint32_t queries, uint32_t count, const float *scales, float *max,
                     float *sum, void *weights, float *factors)
{
    int16_t *to = weights;
    scalar_softmax(x, queries, count, max, sum);
    for (uint32_t h = 0; h < queries; h++, x += KERNEL_TILE, to += KERNEL_TILE) {
        for (uint32_t j = 0; j < count; j++)
            x[j] = QUANTIZE_MAX(x[j] * scales[j], 0.0f);
        float total = scalar_sum(x, count);
        factors[h] = total / KERNEL_WEIGHT_SUM;
        if (kernel_weighable(total)) {
            float inverse = KERNEL_WEIGHT_SUM / total;
            for (uint32_t j = 0; j < count; j++)
                to[j] = (int16_t)QUANTIZE_ROUND(x[j] * inverse);
        } else {
            __builtin_memset(to, 0, KERNEL_TILE * sizeof *to);
        }
    }
}

/* ---- values ---- */

/* `width` dimensions, a constant. */
static inline __attribute__((always_inline)) void values_i8(const int16_t *w, const int8_t *v,
                                                            size_t head_dim, uint32_t count,
                                                            size_t width, float factor, float keep,
                                                            float *acc)
{
    int32_t sums[WIDE] = {0};
    for (uint32_t j = 0; j < count; j++, v += head_dim)
        for (size_t d = 0; d < width; d++)
            sums[d] += w[j] * v[d];
    for (size_t d = 0; d < width; d++)
        acc[d] = __builtin_fmaf((float)sums[d], factor, acc[d] * keep);
}

void scalar_values_i8(const void *weights, const float *factors, const float *keep,
                      uint32_t queries, const int8_t *v, uint32_t head_dim, uint32_t count,
                      float *acc, uint32_t acc_stride)
{
    const int16_t *w = weights;
    for (uint32_t h = 0; h < queries; h++, w += KERNEL_TILE, acc += acc_stride) {
        uint32_t d = 0;
        for (; d + WIDE <= head_dim; d += WIDE)
            values_i8(w, v + d, head_dim, count, WIDE, factors[h], keep[h], acc + d);
        for (; d < head_dim; d += CHUNK)
            values_i8(w, v + d, head_dim, count, CHUNK, factors[h], keep[h], acc + d);
    }
}

/* ---- floats ---- */

void scalar_dot_f32(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out)
{
    for (uint32_t j = 0; j < count; j++, k += head_dim) {
        float lanes[32] = {0};
        for (size_t d = 0; d < head_dim; d += CHUNK)
            for (size_t i = 0; i < CHUNK; i++) {
                float *lane = &lanes[d % 32 + i];
                *lane = __builtin_fmaf(q[d + i], k[d + i], *lane);
            }
        out[j] = kernel_fold(lanes);
    }
}

void scalar_axpy_f32(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc)
{
    size_t step = head_dim;
    const float *end = p + count;
    for (size_t d = 0; d < step; d += CHUNK) {
        float lanes[CHUNK];
        __builtin_memcpy(lanes, acc + d, sizeof lanes);
        const float *row = v + d;
        for (const float *weight = p; weight != end; weight++, row += step)
            for (uint32_t i = 0; i < CHUNK; i++)
                lanes[i] = __builtin_fmaf(*weight, row[i], lanes[i]);
        __builtin_memcpy(acc + d, lanes, sizeof lanes);
    }
}
