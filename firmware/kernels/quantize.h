/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_QUANTIZE_H
#define KERNELS_QUANTIZE_H

/* Quantization to int8 by the greatest magnitude (docs/numerics.md), element by element. */

#include <stdint.h>

/* Greatest magnitude of n floats, at least 0; NaN is passed over. */
static inline float quantize_amax(const float *x, uint32_t n)
{
    float m = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float a = __builtin_fabsf(x[i]);
        m = a > m ? a : m;
    }
    return m;
}

/* The scale, and what to multiply with instead of dividing by it; both 0 where all values quantize
 * to 0. */
static inline float quantize_scale(float amax, float *inverse)
{
    float scale = amax / 127.0f;
    if (scale < 0x1p-126f) {
        *inverse = 0.0f;
        return 0.0f;
    }
    *inverse = 1.0f / scale;
    return scale;
}

/* In -127..127 for every x, infinities and NaN included; a zero inverse gives 0 for finite x. */
static inline int8_t quantize_value(float x, float inverse)
{
    float v = x * inverse;
    v = v < 127.0f ? v : 127.0f;
    v = v > -127.0f ? v : -127.0f;
    return (int8_t)(int32_t)((v + 12582912.0f) - 12582912.0f);
}

#endif
