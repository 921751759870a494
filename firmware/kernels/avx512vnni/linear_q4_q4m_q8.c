/* SPDX-License-Identifier: Apache-2.0 */

/* Weights in 4 and 8 bits times quantized rows, in vectors of 512 bits. */

#include "kernels/x86/vectors512.h"

#define vec_dot(sum, weights, input) _mm512_dpbusd_epi32(sum, weights, input)
#define LINEAR_BLOCK                 4u

#include "kernels/x86/linear.h"
#include "kernels/x86/vnni.h"

LINEAR_VERSION(avx512vnni_linear_q4, LINEAR_NIBBLES, 0)
LINEAR_VERSION(avx512vnni_linear_q4m, LINEAR_NIBBLES, 1)
LINEAR_VERSION(avx512vnni_linear_q8, LINEAR_BYTES, 0)
