/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_AVX2_FUNCTIONS_H
#define KERNELS_AVX2_FUNCTIONS_H

/* Kernels of AVX2 beside those that multiply weights; families that have more than it use them,
 * too. Arguments and results as in kernels/kernels.h. */

#include "kernels/scalar/scalar.h"

void avx2_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums);
float avx2_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step);

/* The part of a table that does not multiply weights. */
#define AVX2_FUNCTIONS .quantize = avx2_quantize, .quantize_head = avx2_quantize_head, SCALAR_REST

#endif
