/* SPDX-License-Identifier: Apache-2.0 */

/* Rows of floats; sums in 32 virtual lanes. */

#include "common/math.h"
#include "gen/image_format.h"
#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/scalar/scalar.h"

#define BLOCK 8u

#define INLINE static inline __attribute__((always_inline))

/* Eight values before the first is stored, for an int8 might lie over any float: else each waited
 * for the one before. */
INLINE int32_t quantize_block(const float *x, float inverse, int8_t *values)
{
    int32_t q[BLOCK], sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        q[i] = quantize_value(x[i], inverse);
    for (size_t i = 0; i < BLOCK; i++) {
        values[i] = (int8_t)q[i];
        sum += q[i];
    }
    return sum;
}

static void quantize_group(const float *x, int8_t *values, float *scale, int32_t *sum)
{
    float inverse;
    int32_t total = 0;
    *scale = quantize_scale(quantize_amax(x, KERNEL_GROUP), &inverse);
    for (size_t i = 0; i < KERNEL_GROUP; i += BLOCK)
        total += quantize_block(x + i, inverse, values + i);
    *sum = total;
}

void scalar_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums)
{
    for (; n >= KERNEL_GROUP; n -= KERNEL_GROUP, x += KERNEL_GROUP, values += KERNEL_GROUP)
        quantize_group(x, values, scales++, sums++);
    if (n) {
        float rest[KERNEL_GROUP] = {0};
        __builtin_memcpy(rest, x, n * sizeof(float));
        quantize_group(rest, values, scales, sums);
    }
}

/* lane + (x - mean)^2, or lane + x; `squares` is a constant. */
INLINE float add(float lane, float x, float mean, int squares)
{
    float d = x - mean;
    return squares ? __builtin_fmaf(d, d, lane) : lane + x;
}

/* Eight of the 32 lanes at a time, which stay in registers. */
INLINE float reduce(const float *x, float mean, uint32_t n, int squares)
{
    float lanes[32];
    for (size_t first = 0; first < 32; first += BLOCK) {
        float block[BLOCK] = {0};
        size_t i = first;
        for (; i + BLOCK <= n; i += 32)
            for (size_t j = 0; j < BLOCK; j++)
                block[j] = add(block[j], x[i + j], mean, squares);
        for (size_t j = 0; j < BLOCK; j++)
            lanes[first + j] = i + j < n ? add(block[j], x[i + j], mean, squares) : block[j];
    }
    return kernel_fold(lanes);
}

float scalar_sum(const float *x, uint32_t n)
{
    return reduce(x, 0.0f, n, 0);
}

float scalar_sum_squares(const float *x, float mean, uint32_t n)
{
    return reduce(x, mean, n, 1);
}

void scalar_normalize(const float *x, uint32_t n, float mean, float factor, const float *weight,
                      const float *bias, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * factor;
    if (weight && bias)
        for (size_t i = 0; i < n; i++)
            y[i] = math_fma(y[i], weight[i], bias[i]);
    else if (weight)
        for (size_t i = 0; i < n; i++)
            y[i] *= weight[i];
    else if (bias)
        for (size_t i = 0; i < n; i++)
            y[i] += bias[i];
}

void scalar_activate(float *x, uint32_t n, uint32_t kind)
{
    if (kind == IMAGE_ACTIVATION_SILU)
        for (size_t i = 0; i < n; i++)
            x[i] = math_silu(x[i]);
    else if (kind == IMAGE_ACTIVATION_GELU_TANH)
        for (size_t i = 0; i < n; i++)
            x[i] = math_gelu_tanh(x[i]);
    else if (kind == IMAGE_ACTIVATION_GELU_ERF)
        for (size_t i = 0; i < n; i++)
            x[i] = math_gelu_erf(x[i]);
    else if (kind == IMAGE_ACTIVATION_RELU)
        for (size_t i = 0; i < n; i++)
            x[i] = math_relu(x[i]);
    else if (kind == IMAGE_ACTIVATION_TANH)
        for (size_t i = 0; i < n; i++)
            x[i] = math_tanh(x[i]);
}

uint32_t scalar_argmax(const float *x, uint32_t n)
{
    uint32_t best = 0;
    float most = -__builtin_inff();
    for (uint32_t i = 0; i < n; i++)
        if (__builtin_expect(x[i] > most, 0)) {
            most = x[i];
            best = i;
        }
    return best;
}
