/* SPDX-License-Identifier: Apache-2.0 */

/* 8-bit weights times quantized rows.
 *
 * maddubs wants one operand without a sign: it gets a weight's magnitude, and the input's value
 * with the weight's sign. It adds two products, 2 * 128 * 127 = 32512 at most, and cannot saturate.
 */

#include "kernels/avx2/avx2.h"

/* Sums of a strip: rows 0-3 and 16-19, 4-7 and 20-23, 8-11 and 24-27, 12-15 and 28-31, as unpacking
 * leaves them. */
struct strip {
    __m256i quarters[4];
};

/* Four columns of a strip, those of a row behind one another. */
AVX2_INLINE void transpose(const uint8_t *values, __m256i rows[4])
{
    __m256i a = avx2_load(values), b = avx2_load(values + KERNEL_TILE);
    __m256i c = avx2_load(values + 2 * KERNEL_TILE), d = avx2_load(values + 3 * KERNEL_TILE);
    __m256i low_ab = _mm256_unpacklo_epi8(a, b), high_ab = _mm256_unpackhi_epi8(a, b);
    __m256i low_cd = _mm256_unpacklo_epi8(c, d), high_cd = _mm256_unpackhi_epi8(c, d);
    rows[0] = _mm256_unpacklo_epi16(low_ab, low_cd);
    rows[1] = _mm256_unpackhi_epi16(low_ab, low_cd);
    rows[2] = _mm256_unpacklo_epi16(high_ab, high_cd);
    rows[3] = _mm256_unpackhi_epi16(high_ab, high_cd);
}

/* Columns k to k + 3 of a strip for each input row. */
AVX2_INLINE void add_four(const uint8_t *values, const struct kernel_q8a *x, size_t k,
                          uint32_t count, struct strip *sums)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i rows[4];
    transpose(values, rows);
    for (size_t i = 0; i < 4; i++) {
        __m256i magnitude = _mm256_abs_epi8(rows[i]);
        for (size_t t = 0; t < count; t++) {
            int32_t four;
            __builtin_memcpy(&four, x[t].values + k, sizeof four);
            __m256i q = _mm256_sign_epi8(_mm256_set1_epi32(four), rows[i]);
            __m256i pairs = _mm256_maddubs_epi16(magnitude, q), *sum = &sums[t].quarters[i];
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
}

AVX2_INLINE void add_group(const uint8_t *values, const struct kernel_q8a *x, uint32_t g,
                           uint32_t count, uint32_t strips, struct strip (*sums)[AVX2_BLOCK])
{
    for (size_t t = 0; t < count; t++)
        for (size_t s = 0; s < strips; s++)
            for (size_t i = 0; i < 4; i++)
                sums[s][t].quarters[i] = _mm256_setzero_si256();
    KERNEL_UNROLL(1)
    for (size_t k = 0; k < KERNEL_GROUP; k += 4, values += 4 * KERNEL_TILE) {
        for (size_t i = 0; count < AVX2_BLOCK && i < 4; i++)
            avx2_ask(values + i * KERNEL_TILE);
        for (size_t s = 0; s < strips; s++)
            add_four(values + s * AVX2_STRIP, x, (size_t)g * KERNEL_GROUP + k, count, sums[s]);
    }
}

/* In the order of rows, 8 at a time. */
AVX2_INLINE void reorder(const struct strip *sums, __m256i wide[4])
{
    const __m256i *q = sums->quarters;
    wide[0] = _mm256_permute2x128_si256(q[0], q[1], 0x20);
    wide[1] = _mm256_permute2x128_si256(q[2], q[3], 0x20);
    wide[2] = _mm256_permute2x128_si256(q[0], q[1], 0x31);
    wide[3] = _mm256_permute2x128_si256(q[2], q[3], 0x31);
}

AVX2_INLINE void block(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                       uint32_t row, uint32_t strips, float *acc, uint32_t acc_stride)
{
    size_t lane = row % KERNEL_TILE;
    const uint8_t *record = kernel_tile(w, row);
    struct avx2_total total[AVX2_BLOCK] = {0};
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
        const uint8_t *scales = record + KERNEL_TILE * KERNEL_GROUP + 2 * lane;
        struct strip sums[AVX2_STRIPS][AVX2_BLOCK];
        add_group(record + lane, x, g, count, strips, sums);
        for (size_t t = 0; t < count; t++)
            for (size_t s = 0; s < strips; s++) {
                __m256i wide[4];
                reorder(&sums[s][t], wide);
                avx2_add_scaled(&x[t], g, wide, scales + 2 * AVX2_STRIP * s, 0, total[t].rows[s]);
            }
    }
    avx2_store(total, count, strips, acc, acc_stride);
}

void avx2_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    avx2_linear(block, w, x, count, row0, row1, acc, acc_stride);
}
