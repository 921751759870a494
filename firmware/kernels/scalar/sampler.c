/* SPDX-License-Identifier: Apache-2.0 */

/* The sampler's passes over the vocabulary. */

#include "common/math.h"
#include "kernels/scalar/scalar.h"

/* 2^40 p 2^n by the bits of its exponent: between 2^-4 and 2^40 nothing is rounded. */
static inline float weigh_one(float d)
{
    int32_t n;
    float p = math_exp_parts(d > -30.0f ? d : -30.0f, &n);
    return math_from_bits(math_to_bits(p) + ((uint32_t)(n + 40) << 23));
}

void scalar_weigh(const float *x, uint32_t n, float best, float factor, float *w)
{
    for (size_t i = 0; i < n; i++)
        w[i] = weigh_one((x[i] - best) * factor);
}

uint64_t scalar_measure(const float *x, const float *w, uint32_t n, float cut, uint32_t *count)
{
    uint64_t sum = 0, found = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t in = x[i] >= cut;
        sum += (uint64_t)(int64_t)w[i] & -in;
        found += in;
    }
    *count += (uint32_t)found;
    return sum;
}

uint32_t scalar_find(const float *x, uint32_t n, float low, float high, uint32_t *indices)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        if (x[i] >= low && x[i] < high)
            indices[found++] = i;
    return found;
}
