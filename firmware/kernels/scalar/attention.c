/* SPDX-License-Identifier: Apache-2.0 */

/* Scores and values of one page and one KV head. */

#include "common/math.h"
#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/scalar/scalar.h"
#include "kernels/swar/swar.h"

#define CHUNK     8u /* dimensions whose accumulators stay in registers */
#define MAX_WIDTH 16u

#define INLINE static inline __attribute__((always_inline))

float scalar_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step)
{
    float inverse;
    float scale = quantize_scale(quantize_amax(x, head_dim), &inverse);
    for (size_t i = 0; i < head_dim; i++)
        to[i * step] = (int8_t)quantize_value(x[i], inverse);
    return scale;
}

/* ---- scores ---- */

void scalar_dot_i8(const int8_t *q, uint32_t heads, const int8_t *k, uint32_t head_dim,
                   uint32_t count, int32_t *out)
{
    (void)count;
    for (uint32_t h = 0; h < heads; h++, q += head_dim, out += KERNEL_TILE) {
        int32_t sums[KERNEL_TILE] = {0};
        const int8_t *key = k;
        for (uint32_t d = 0; d < head_dim; d += 2, key += 2 * KERNEL_TILE)
            for (uint32_t j = 0; j < KERNEL_TILE; j++)
                sums[j] += (int16_t)(key[j] * q[d] + key[j + KERNEL_TILE] * q[d + 1]);
        __builtin_memcpy(out, sums, sizeof sums);
    }
}

/* On a core with vectors the plain loop becomes one; without, two positions share a multiply. */
#if defined(__riscv)
#define DOT swar_dot_i8
#else
#define DOT scalar_dot_i8
#endif

void scalar_score_i8(const int8_t *q, const float *scales, uint32_t heads, const int8_t *k,
                     const float *key_scales, uint32_t head_dim, uint32_t count, float *out)
{
    int32_t dots[KERNEL_HEADS][KERNEL_TILE];
    DOT(q, heads, k, head_dim, count, dots[0]);
    for (size_t h = 0; h < heads; h++) {
        KERNEL_UNROLL(4)
        for (size_t j = 0; j < count; j++)
            out[h * KERNEL_TILE + j] = (float)dots[h][j] * (scales[h] * key_scales[j]);
    }
}

/* ---- weights ---- */

void scalar_softmax(float *x, uint32_t heads, uint32_t count, const float *scales, float *max,
                    float *sum)
{
    for (uint32_t h = 0; h < heads; h++, x += KERNEL_TILE) {
        float most = max[h];
        KERNEL_UNROLL(4)
        for (size_t j = 0; j < count; j++)
            most = QUANTIZE_MAX(x[j], most);
        for (size_t j = 0; j < count; j++)
            x[j] = math_exp(x[j] - most);
        max[h] = most;
        sum[h] = scalar_sum(x, count);
        if (!scales)
            continue;
        KERNEL_UNROLL(4)
        for (size_t j = 0; j < count; j++)
            x[j] *= scales[j];
    }
}

/* ---- values ---- */

/* `width` dimensions of `heads` heads, whose accumulators stay in registers; both are constants. */
INLINE void axpy_i8(const float *p, const float *end, const int8_t *v, size_t head_dim,
                    size_t width, size_t heads, float *acc, size_t acc_stride)
{
    float sums[KERNEL_HEADS][MAX_WIDTH];
    for (size_t h = 0; h < heads; h++)
        __builtin_memcpy(sums[h], acc + h * acc_stride, width * sizeof(float));
    KERNEL_UNROLL(2)
    for (; p != end; p++, v += head_dim)
        for (size_t i = 0; i < width; i++) {
            float value = (float)v[i];
            for (size_t h = 0; h < heads; h++)
                sums[h][i] = __builtin_fmaf(p[h * KERNEL_TILE], value, sums[h][i]);
        }
    for (size_t h = 0; h < heads; h++)
        __builtin_memcpy(acc + h * acc_stride, sums[h], width * sizeof(float));
}

void scalar_axpy_i8(const float *p, uint32_t heads, const int8_t *v, uint32_t head_dim,
                    uint32_t count, float *acc, uint32_t acc_stride)
{
    const float *end = p + count;
    size_t d = 0;
    for (; heads == 1 && d + MAX_WIDTH <= head_dim; d += MAX_WIDTH)
        axpy_i8(p, end, v + d, head_dim, MAX_WIDTH, 1, acc + d, acc_stride);
    for (; d < head_dim; d += CHUNK)
        if (heads == 1)
            axpy_i8(p, end, v + d, head_dim, CHUNK, 1, acc + d, acc_stride);
        else if (heads == 2)
            axpy_i8(p, end, v + d, head_dim, CHUNK, 2, acc + d, acc_stride);
        else
            axpy_i8(p, end, v + d, head_dim, CHUNK, 3, acc + d, acc_stride);
}

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
