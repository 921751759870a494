/* SPDVECTORS256-License-Identifier: Apache-2.0 */
#ifndef KERNELS_VECTORS25686_X_H
#define KERNELS_VECTORS25686_X_H

/* Vectors of 256 bits for kernels/x86/linear.h: half a tile's rows. Unpacking works within lanes of
 * 128 bits. */

#include <immintrin.h>
#include <stdint.h>

#define VEC_LANES  2u
#define VEC_INLINE static inline __attribute__((always_inline))

typedef __m256i vec;
typedef __m256 vec_floats;

#define vec_zero()          _mm256_setzero_si256()
#define vec_load(p)         _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vec_set8(v)         _mm256_set1_epi8(v)
#define vec_set32(v)        _mm256_set1_epi32(v)
#define vec_and(a, b)       _mm256_and_si256(a, b)
#define vec_xor(a, b)       _mm256_xor_si256(a, b)
#define vec_high_nibbles(a) _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(15))
#define vec_low8(a, b)      _mm256_unpacklo_epi8(a, b)
#define vec_high8(a, b)     _mm256_unpackhi_epi8(a, b)
#define vec_low16(a, b)     _mm256_unpacklo_epi16(a, b)
#define vec_high16(a, b)    _mm256_unpackhi_epi16(a, b)

#define vec_set_float(v)          _mm256_set1_ps(v)
#define vec_to_floats(a)          _mm256_cvtepi32_ps(a)
#define vec_as_floats(a)          _mm256_castsi256_ps(a)
#define vec_multiply(a, b)        _mm256_mul_ps(a, b)
#define vec_multiply_add(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vec_store_floats(p, a)    _mm256_storeu_ps(p, a)
#define vec_zero_floats()         _mm256_setzero_ps()

/* Of two vectors that follow each other in memory, the even lanes and the odd ones. */
#define vec_even_lanes(a, b) _mm256_permute2x128_si256(a, b, 0x20)
#define vec_odd_lanes(a, b)  _mm256_permute2x128_si256(a, b, 0x31)

#endif
