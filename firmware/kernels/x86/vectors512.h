/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_X86_VECTORS512_H
#define KERNELS_X86_VECTORS512_H

/* Vectors of 512 bits for kernels/x86/linear.h: a tile's rows. Unpacking works within lanes of 128
 * bits. */

#include <immintrin.h>
#include <stdint.h>

#define VEC_LANES  4u
#define VEC_INLINE static inline __attribute__((always_inline))

typedef __m512i vec;
typedef __m512 vec_floats;

#define vec_zero()          _mm512_setzero_si512()
#define vec_load(p)         _mm512_loadu_si512((const void *)(p))
#define vec_set8(v)         _mm512_set1_epi8(v)
#define vec_set32(v)        _mm512_set1_epi32(v)
#define vec_and(a, b)       _mm512_and_si512(a, b)
#define vec_xor(a, b)       _mm512_xor_si512(a, b)
#define vec_high_nibbles(a) _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15))
#define vec_low8(a, b)      _mm512_unpacklo_epi8(a, b)
#define vec_high8(a, b)     _mm512_unpackhi_epi8(a, b)
#define vec_low16(a, b)     _mm512_unpacklo_epi16(a, b)
#define vec_high16(a, b)    _mm512_unpackhi_epi16(a, b)

#define vec_set_float(v)          _mm512_set1_ps(v)
#define vec_to_floats(a)          _mm512_cvtepi32_ps(a)
#define vec_as_floats(a)          _mm512_castsi512_ps(a)
#define vec_multiply(a, b)        _mm512_mul_ps(a, b)
#define vec_multiply_add(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_store_floats(p, a)    _mm512_storeu_ps(p, a)
#define vec_zero_floats()         _mm512_setzero_ps()

/* Of two vectors that follow each other in memory, the even lanes and the odd ones. */
#define vec_even_lanes(a, b) _mm512_shuffle_i64x2(a, b, 0x88)
#define vec_odd_lanes(a, b)  _mm512_shuffle_i64x2(a, b, 0xdd)

#endif
