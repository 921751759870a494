/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_QUANTIZE_H
#define KERNELS_QUANTIZE_H

/* Quantization to int8 by the greatest magnitude (docs/numerics.md), element by element. */

#include <stdint.h>

#include "kernels/load.h"

/* RISC-V's fmin and fmax return the other operand for NaN, as these selects do, in one instruction.
 */
#if defined(__riscv)
#define QUANTIZE_MIN(v, most)  __builtin_fminf(v, most)
#define QUANTIZE_MAX(v, least) __builtin_fmaxf(v, least)
#define QUANTIZE_ROUND(v)      ((int32_t)__builtin_lrintf(v))
#else
#define QUANTIZE_MIN(v, most)  ((v) < (most) ? (v) : (most))
#define QUANTIZE_MAX(v, least) ((v) > (least) ? (v) : (least))
#define QUANTIZE_ROUND(v)      ((int32_t)(((v) + 12582912.0f) - 12582912.0f))
#endif

/* Greatest magnitude of n floats, at least 0; NaN is passed over. */
static inline float quantize_amax(const float *x, uint32_t n)
{
    float m = 0.0f;
    KERNEL_UNROLL(8)
    for (uint32_t i = 0; i < n; i++)
        m = QUANTIZE_MAX(__builtin_fabsf(x[i]), m);
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

/* In -127..127 for every x that amax bounds, and for NaN: 127, as for infinities, whose inverse is
 * 0. Below, rounding leaves -127.00002 at the least. A zero inverse gives 0 for finite x. */
static inline int32_t quantize_value(float x, float inverse)
{
    return QUANTIZE_ROUND(QUANTIZE_MIN(x * inverse, 127.0f));
}

/* Whether a block's weights of this sum are made integers of. */
static inline int kernel_weighable(float total)
{
    return total >= KERNEL_WEIGHT_LEAST && total < __builtin_inff();
}

#endif
