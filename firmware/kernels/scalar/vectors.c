/* SPDX-License-Identifier: Apache-2.0 */

/* Quantization of activations, and sums in 32 virtual lanes. */

#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/scalar/scalar.h"

void scalar_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums)
{
    for (uint32_t g = 0; g * KERNEL_GROUP < n; g++, x += KERNEL_GROUP, values += KERNEL_GROUP) {
        uint32_t left = n - g * KERNEL_GROUP;
        uint32_t count = left < KERNEL_GROUP ? left : KERNEL_GROUP;
        float inverse;
        scales[g] = quantize_scale(quantize_amax(x, count), &inverse);
        int32_t sum = 0;
        for (uint32_t i = 0; i < count; i++) {
            values[i] = quantize_value(x[i], inverse);
            sum += values[i];
        }
        for (uint32_t i = count; i < KERNEL_GROUP; i++)
            values[i] = 0;
        sums[g] = sum;
    }
}

float scalar_sum(const float *x, uint32_t n)
{
    float lanes[32] = {0};
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (uint32_t j = 0; j < 32; j++)
            lanes[j] += x[i + j];
    for (uint32_t j = 0; i + j < n; j++)
        lanes[j] += x[i + j];
    return kernel_fold(lanes);
}

float scalar_sum_squares(const float *x, float mean, uint32_t n)
{
    float lanes[32] = {0};
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (uint32_t j = 0; j < 32; j++) {
            float d = x[i + j] - mean;
            lanes[j] = __builtin_fmaf(d, d, lanes[j]);
        }
    for (uint32_t j = 0; i + j < n; j++) {
        float d = x[i + j] - mean;
        lanes[j] = __builtin_fmaf(d, d, lanes[j]);
    }
    return kernel_fold(lanes);
}
