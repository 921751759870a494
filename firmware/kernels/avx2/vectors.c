/* SPDX-License-Identifier: Apache-2.0 */

/* Rows of floats to int8, 32 at a time. */

#include <immintrin.h>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/functions.h"
#include "kernels/quantize.h"

#define LANES 8u /* floats in a vector */

/* The maximum starts at 0 and passes a NaN over: vmaxps gives its second operand for one. */
AVX2_INLINE __m256 greatest(__m256 most, __m256 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return _mm256_max_ps(_mm256_andnot_ps(sign, x), most);
}

/* Of eight lanes; none is a NaN. */
AVX2_INLINE float fold_greatest(__m256 most)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* vminps gives its second operand for a NaN: 127. Rounding is to nearest even, as the rule's. */
AVX2_INLINE __m256i round_values(const float *x, __m256 inverse)
{
    __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x), inverse);
    return _mm256_cvtps_epi32(_mm256_min_ps(scaled, _mm256_set1_ps(127.0f)));
}

AVX2_INLINE void quantize_group(const float *x, int8_t *values, float *scale, int32_t *sum)
{
    float inverse;
    __m256 most = _mm256_setzero_ps();
    __m256i q[4];
    for (size_t i = 0; i < 4; i++)
        most = greatest(most, _mm256_loadu_ps(x + LANES * i));
    *scale = quantize_scale(fold_greatest(most), &inverse);
    for (size_t i = 0; i < 4; i++)
        q[i] = round_values(x + LANES * i, _mm256_set1_ps(inverse));
    /* Packing works within lanes of 128 bits, so that fours of values lie crosswise. */
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)values, bytes);
    __m256i eight = _mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    *sum = _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

void avx2_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums)
{
    for (; n >= KERNEL_GROUP; n -= KERNEL_GROUP, x += KERNEL_GROUP, values += KERNEL_GROUP)
        quantize_group(x, values, scales++, sums++);
    if (n) {
        float rest[KERNEL_GROUP] = {0};
        __builtin_memcpy(rest, x, n * sizeof(float));
        quantize_group(rest, values, scales, sums);
    }
}

/* head_dim is a multiple of 8; values may lie apart. */
float avx2_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step)
{
    float inverse;
    __m256 most = _mm256_setzero_ps();
    for (size_t i = 0; i < head_dim; i += LANES)
        most = greatest(most, _mm256_loadu_ps(x + i));
    float scale = quantize_scale(fold_greatest(most), &inverse);
    for (size_t i = 0; i < head_dim; i += LANES) {
        int32_t q[LANES];
        _mm256_storeu_si256((__m256i *)(void *)q, round_values(x + i, _mm256_set1_ps(inverse)));
        for (size_t j = 0; j < LANES; j++)
            to[(i + j) * step] = (int8_t)q[j];
    }
    return scale;
}
