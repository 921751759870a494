/* SPDX-License-Identifier: Apache-2.0 */

/* Scores and values of one page and one KV head. */

#include "kernels/load.h"
#include "kernels/scalar/scalar.h"

#define CHUNK     8u /* dimensions whose accumulators stay in registers */
#define MAX_WIDTH 16u

#define INLINE static inline __attribute__((always_inline))

void scalar_dot_i8(const int8_t *q, const int8_t *k, uint32_t head_dim, int32_t *out)
{
    int32_t sums[KERNEL_TILE] = {0};
    for (uint32_t d = 0; d < head_dim; d += 2, k += 2 * KERNEL_TILE)
        for (uint32_t j = 0; j < KERNEL_TILE; j++)
            sums[j] += (int16_t)(k[j] * q[d] + k[j + KERNEL_TILE] * q[d + 1]);
    __builtin_memcpy(out, sums, sizeof sums);
}

/* `width` dimensions, whose accumulators stay in registers; it is a constant. */
INLINE void axpy_i8(const float *p, const float *end, const int8_t *v, size_t step, size_t width,
                    float *acc)
{
    float lanes[MAX_WIDTH];
    __builtin_memcpy(lanes, acc, width * sizeof(float));
    for (; p != end; p++, v += step)
        for (size_t i = 0; i < width; i++)
            lanes[i] = __builtin_fmaf(*p, (float)v[i], lanes[i]);
    __builtin_memcpy(acc, lanes, width * sizeof(float));
}

void scalar_axpy_i8(const float *p, const int8_t *v, uint32_t head_dim, uint32_t count, float *acc)
{
    size_t d = 0;
    for (; d + MAX_WIDTH <= head_dim; d += MAX_WIDTH)
        axpy_i8(p, p + count, v + d, head_dim, MAX_WIDTH, acc + d);
    if (d < head_dim)
        axpy_i8(p, p + count, v + d, head_dim, CHUNK, acc + d);
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
