/* SPDX-License-Identifier: Apache-2.0 */

/* 4-bit weights times quantized rows.
 *
 * maddubs multiplies bytes without a sign, so nibbles are taken as 0..15 and 8 times the group's
 * sum is taken off first. It adds two products, 2 * 15 * 127 = 3810 at most, and cannot saturate.
 * Sums may wrap on the way: the whole group's is 32 * 8 * 127 = 32512 at most and fits 16 bits.
 */

#include "kernels/avx2/avx2.h"

#define ZERO 8 /* the nibble of value 0 */

/* Sums of a strip: rows 0-7 and 16-23, then 8-15 and 24-31, as unpacking leaves them. */
struct strip {
    __m256i halves[2];
};

/* Columns k and k + 1 of a strip for each input row. */
AVX2_INLINE void add_pair(const uint8_t *bytes, const struct kernel_q8a *x, size_t k,
                          uint32_t count, struct strip *sums)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i both = avx2_load(bytes);
    __m256i even = _mm256_and_si256(both, low);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    __m256i first = _mm256_unpacklo_epi8(even, odd), second = _mm256_unpackhi_epi8(even, odd);
    for (size_t t = 0; t < count; t++) {
        int16_t pair;
        __builtin_memcpy(&pair, x[t].values + k, sizeof pair);
        __m256i q = _mm256_set1_epi16(pair), *half = sums[t].halves;
        half[0] = _mm256_add_epi16(half[0], _mm256_maddubs_epi16(first, q));
        half[1] = _mm256_add_epi16(half[1], _mm256_maddubs_epi16(second, q));
    }
}

AVX2_INLINE void add_group(const uint8_t *values, const struct kernel_q8a *x, uint32_t g,
                           uint32_t count, uint32_t strips, struct strip (*sums)[AVX2_BLOCK])
{
    for (size_t t = 0; t < count; t++)
        for (size_t s = 0; s < strips; s++)
            for (size_t i = 0; i < 2; i++)
                sums[s][t].halves[i] = _mm256_set1_epi16((int16_t)(-ZERO * x[t].sums[g]));
    KERNEL_UNROLL(4)
    for (size_t k = 0; k < KERNEL_GROUP; k += 2, values += KERNEL_TILE) {
        if (count < AVX2_BLOCK)
            avx2_ask(values);
        for (size_t s = 0; s < strips; s++)
            add_pair(values + s * AVX2_STRIP, x, (size_t)g * KERNEL_GROUP + k, count, sums[s]);
    }
}

/* In the order of rows, 8 at a time. */
AVX2_INLINE void widen(const struct strip *sums, __m256i wide[4])
{
    for (size_t i = 0; i < 2; i++) {
        wide[i] = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums->halves[i]));
        wide[2 + i] = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums->halves[i], 1));
    }
}

AVX2_INLINE void block(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                       uint32_t row, uint32_t strips, float *acc, uint32_t acc_stride, int minimum)
{
    size_t lane = row % KERNEL_TILE;
    const uint8_t *record = kernel_tile(w, row);
    struct avx2_total total[AVX2_BLOCK] = {0};
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
        const uint8_t *scales = record + KERNEL_TILE * KERNEL_GROUP / 2 + 2 * lane;
        struct strip sums[AVX2_STRIPS][AVX2_BLOCK];
        add_group(record + lane, x, g, count, strips, sums);
        for (size_t t = 0; t < count; t++)
            for (size_t s = 0; s < strips; s++) {
                const uint8_t *at = scales + 2 * AVX2_STRIP * s;
                __m256i wide[4];
                widen(&sums[s][t], wide);
                avx2_add_scaled(&x[t], g, wide, at, minimum ? at + 2 * KERNEL_TILE : 0,
                                total[t].rows[s]);
            }
    }
    avx2_store(total, count, strips, acc, acc_stride);
}

AVX2_INLINE void block_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                          uint32_t row, uint32_t strips, float *acc, uint32_t acc_stride)
{
    block(w, x, count, row, strips, acc, acc_stride, 0);
}

AVX2_INLINE void block_q4m(const struct kernel_weight *w, const struct kernel_q8a *x,
                           uint32_t count, uint32_t row, uint32_t strips, float *acc,
                           uint32_t acc_stride)
{
    block(w, x, count, row, strips, acc, acc_stride, 1);
}

void avx2_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    avx2_linear(block_q4, w, x, count, row0, row1, acc, acc_stride);
}

void avx2_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                     uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    avx2_linear(block_q4m, w, x, count, row0, row1, acc, acc_stride);
}
