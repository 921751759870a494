/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_AVX2_AVX2_H
#define KERNELS_AVX2_AVX2_H

/* What the AVX2 kernels share: x86-64-v3, rows as lanes, layout RVV.
 *
 * Compilers keep the sums of the scalar kernels on the stack; here they stay in registers. A strip
 * is 32 rows, one load of bytes. A block is up to four input rows and a strip, or one and two
 * strips.
 */

#include <immintrin.h>

#include "kernels/load.h"

#define AVX2_STRIP  32u
#define AVX2_STRIPS 2u
#define AVX2_BLOCK  4u /* input rows at a time */
#define AVX2_AHEAD  2048u

#define AVX2_INLINE static inline __attribute__((always_inline))

/* `count` input rows against `strips` strips from `row` on; both are constants wherever this is
 * inlined. */
typedef void avx2_block(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                        uint32_t row, uint32_t strips, float *acc, uint32_t acc_stride);

/* Totals of one input row: 4 times 8 rows a strip. */
struct avx2_total {
    __m256 rows[AVX2_STRIPS][4];
};

AVX2_INLINE __m256i avx2_load(const uint8_t *bytes)
{
    return _mm256_loadu_si256((const __m256i *)bytes);
}

/* Eight bf16 as floats. */
AVX2_INLINE __m256 avx2_load_bf16(const uint8_t *values)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)values));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* total += sums * scales of a strip in group g of x, and where there are minima += their offset. */
AVX2_INLINE void avx2_add_scaled(const struct kernel_q8a *x, uint32_t g, const __m256i sums[4],
                                 const uint8_t *scales, const uint8_t *minima, __m256 total[4])
{
    __m256 scale = _mm256_set1_ps(x->scales[g]);
    __m256 offset = _mm256_set1_ps(x->scales[g] * (float)x->sums[g]);
    for (size_t i = 0; i < 4; i++) {
        __m256 s = _mm256_mul_ps(scale, avx2_load_bf16(scales + 16 * i));
        total[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i]), s, total[i]);
        if (minima)
            total[i] = _mm256_fmadd_ps(avx2_load_bf16(minima + 16 * i), offset, total[i]);
    }
}

AVX2_INLINE void avx2_store(const struct avx2_total *total, uint32_t count, uint32_t strips,
                            float *acc, uint32_t acc_stride)
{
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < 4 * (size_t)strips; i++)
            _mm256_storeu_ps(acc + t * acc_stride + 8 * i, total[t].rows[i / 4][i % 4]);
}

/* Asks for a line that is so many bytes further on in the weight: a core alone asks too late.
 * Beyond the weight's end that does no harm. One at a time, for many at once are in the way of what
 * is needed now. */
AVX2_INLINE void avx2_ask(const uint8_t *line)
{
    _mm_prefetch((const char *)line + AVX2_AHEAD, _MM_HINT_T0);
}

/* Up to AVX2_BLOCK input rows against one strip. */
AVX2_INLINE void avx2_strip(avx2_block *block, const struct kernel_weight *w,
                            const struct kernel_q8a *x, uint32_t count, uint32_t row, float *acc,
                            uint32_t acc_stride)
{
    if (count == 4)
        block(w, x, 4, row, 1, acc, acc_stride);
    else if (count == 3)
        block(w, x, 3, row, 1, acc, acc_stride);
    else if (count == 2)
        block(w, x, 2, row, 1, acc, acc_stride);
    else
        block(w, x, 1, row, 1, acc, acc_stride);
}

/* Half a strip, of a strip that lies within the tile. */
AVX2_INLINE void avx2_half(avx2_block *block, const struct kernel_weight *w,
                           const struct kernel_q8a *x, uint32_t count, uint32_t row, float *acc,
                           uint32_t acc_stride)
{
    float rows[AVX2_BLOCK][AVX2_STRIP];
    uint32_t skip = row % KERNEL_TILE > KERNEL_TILE - AVX2_STRIP ? AVX2_STRIP / 2 : 0;
    avx2_strip(block, w, x, count, row - skip, rows[0], AVX2_STRIP);
    for (size_t t = 0; t < count; t++)
        __builtin_memcpy(acc + t * acc_stride, rows[t] + skip, sizeof rows[0] / 2);
}

/* kernel_linear_q8a by blocks. */
AVX2_INLINE void avx2_linear(avx2_block *block, const struct kernel_weight *w,
                             const struct kernel_q8a *x, uint32_t count, uint32_t row0,
                             uint32_t row1, float *acc, uint32_t acc_stride)
{
    if (count == 1 && row1 - row0 == KERNEL_TILE) {
        block(w, x, 1, row0, AVX2_STRIPS, acc, acc_stride);
        return;
    }
    for (; row0 < row1; row0 += AVX2_STRIP, acc += AVX2_STRIP)
        for (uint32_t t = 0; t < count; t += AVX2_BLOCK) {
            uint32_t some = count - t < AVX2_BLOCK ? count - t : AVX2_BLOCK;
            float *to = acc + (size_t)t * acc_stride;
            if (row1 - row0 < AVX2_STRIP)
                avx2_half(block, w, x + t, some, row0, to, acc_stride);
            else
                avx2_strip(block, w, x + t, some, row0, to, acc_stride);
        }
}

#endif
