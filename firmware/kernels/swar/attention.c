/* SPDX-License-Identifier: Apache-2.0 */

/* Scores and values of one page and one KV head, three queries in one multiply.
 *
 * A word holds a number of each of three queries in lanes of 21 bits: q of one dimension for
 * scores, the weight of one position for values. Times a key or value, which is a byte as it lies
 * in the page, it is a product for each of them. Their sums fit: 64 dimensions of 127 * 127 are
 * less than 2^20, and so is 127 times the weights of a block, which add up to 8192 + 32 at most.
 * Lanes are signed: a negative one borrows from the lane above, to which lanes_split() gives it
 * back.
 *
 * Words of queries that are not there are 0. Two words at a time share the loads of bytes.
 */

#include "common/math.h"
#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/scalar/scalar.h"
#include "kernels/swar/swar.h"

#define LANES     3u
#define LANE_BITS 21u
#define MAX_WORDS 2u
#define SUMS      16u /* 64-bit sums at once: of one word and 16 bytes, or two words and 8 */
#define MAX_STEPS 64u /* dimensions whose products a lane holds */

#define INLINE static inline __attribute__((always_inline))

/* ---- products ---- */

/* sums[w][i] = the sum of words[step][w] * bytes[step * stride + i] over the steps up to `end`, an
 * even number and at least 2; one word and 16 bytes a step, or two words and 8. */
typedef void multiply(const uint64_t *words, const int8_t *bytes, size_t stride,
                      const uint64_t *end, uint64_t *sums);

multiply swar_multiply_1, swar_multiply_2; /* attention.S */

#if !defined(__riscv)
void swar_multiply_1(const uint64_t *words, const int8_t *bytes, size_t stride, const uint64_t *end,
                     uint64_t *sums)
{
    __builtin_memset(sums, 0, SUMS * sizeof *sums);
    for (; words != end; words++, bytes += stride)
        for (size_t i = 0; i < SUMS; i++)
            sums[i] += words[0] * (uint64_t)(int64_t)bytes[i];
}

void swar_multiply_2(const uint64_t *words, const int8_t *bytes, size_t stride, const uint64_t *end,
                     uint64_t *sums)
{
    __builtin_memset(sums, 0, SUMS * sizeof *sums);
    for (; words != end; words += 2, bytes += stride)
        for (size_t i = 0; i < SUMS; i++)
            sums[i] += words[i / 8] * (uint64_t)(int64_t)bytes[i % 8];
}
#endif

/* Of n words a step. */
INLINE void multiply_words(size_t n, const uint64_t *words, const int8_t *bytes, size_t stride,
                           size_t steps, uint64_t *sums)
{
    if (n == 1)
        swar_multiply_1(words, bytes, stride, words + steps, sums);
    else
        swar_multiply_2(words, bytes, stride, words + 2 * steps, sums);
}

INLINE void lanes_split(uint64_t word, int32_t *to)
{
    int64_t low = (int64_t)(word << (64 - LANE_BITS)) >> (64 - LANE_BITS);
    int64_t rest = (int64_t)(word - (uint64_t)low) >> LANE_BITS;
    int64_t middle = (int64_t)((uint64_t)rest << (64 - LANE_BITS)) >> (64 - LANE_BITS);
    to[0] = (int32_t)low;
    to[1] = (int32_t)middle;
    to[2] = (int32_t)((rest - middle) >> LANE_BITS);
}

/* Words that go together, from `query` on. */
static uint32_t block_words(uint32_t queries, uint32_t query)
{
    return queries - query > LANES ? MAX_WORDS : 1;
}

/* ---- scores ---- */

/* [blocks][head_dim][words of a block] */
void swar_pack_queries(const int8_t *q, uint32_t queries, uint32_t head_dim, void *packed)
{
    uint64_t *to = packed;
    for (uint32_t first = 0, n; first < queries; first += n * LANES) {
        n = block_words(queries, first);
        for (uint32_t d = 0; d < head_dim; d++)
            for (uint32_t h = first; h < first + n * LANES; h += LANES) {
                uint64_t word = 0;
                for (uint32_t i = 0; i < LANES && h + i < queries; i++)
                    word += (uint64_t)(int64_t)q[(h + i) * head_dim + d] << i * LANE_BITS;
                *to++ = word;
            }
    }
}

/* Dot products with the first 64 dimensions, or fewer, to scores of `count` positions; three rows
 * of `out`. */
INLINE void scores_store(const uint64_t *sums, size_t count, const float *scales,
                         const float *key_scales, float *out)
{
    float s0 = scales[0], s1 = scales[1], s2 = scales[2];
    KERNEL_UNROLL(4)
    for (size_t i = 0; i < count; i++) {
        int32_t dots[LANES];
        float key_scale = key_scales[i];
        lanes_split(sums[i], dots);
        out[i] = (float)dots[0] * (s0 * key_scale);
        out[KERNEL_TILE + i] = (float)dots[1] * (s1 * key_scale);
        out[2 * KERNEL_TILE + i] = (float)dots[2] * (s2 * key_scale);
    }
}

/* The same for more than 64 dimensions: n words, `width` positions. */
static __attribute__((noinline)) void score_wide(const uint64_t *words, size_t n, size_t width,
                                                 const float *scales, const int8_t *k,
                                                 const float *key_scales, uint32_t head_dim,
                                                 float *out)
{
    int32_t dots[LANES * MAX_WORDS][SUMS] = {0};
    for (uint32_t d = 0; d < head_dim; d += MAX_STEPS) {
        uint32_t steps = head_dim - d < MAX_STEPS ? head_dim - d : MAX_STEPS;
        uint64_t sums[SUMS];
        multiply_words(n, words + d * n, k + (size_t)d * KERNEL_TILE, KERNEL_TILE, steps, sums);
        for (size_t i = 0; i < SUMS; i++) {
            int32_t more[LANES];
            lanes_split(sums[i], more);
            for (size_t l = 0; l < LANES; l++)
                dots[i / width * LANES + l][i % width] += more[l];
        }
    }
    for (size_t h = 0; h < n * LANES; h++)
        for (size_t i = 0; i < width; i++)
            out[h * KERNEL_TILE + i] = (float)dots[h][i] * (scales[h] * key_scales[i]);
}

void swar_score_i8(const void *packed, const float *scales, uint32_t queries, const int8_t *k,
                   const float *key_scales, uint32_t head_dim, uint32_t count, float *out)
{
    const uint64_t *words = packed;
    for (uint32_t h = 0, n; h < queries; h += n * LANES, words += (size_t)n * head_dim) {
        n = block_words(queries, h);
        uint32_t width = SUMS / n;
        for (uint32_t j = 0; j < count; j += width) {
            float *to = out + h * KERNEL_TILE + j;
            uint64_t sums[SUMS];
            if (head_dim > MAX_STEPS) {
                score_wide(words, n, width, scales + h, k + j, key_scales + j, head_dim, to);
                continue;
            }
            multiply_words(n, words, k + j, KERNEL_TILE, head_dim, sums);
            scores_store(sums, width, scales + h, key_scales + j, to);
            if (n == 2)
                scores_store(sums + width, width, scales + h + LANES, key_scales + j,
                             to + LANES * KERNEL_TILE);
        }
    }
}

/* ---- weights ---- */

/* A sum of weights, and of weights times scales. */
struct sums {
    float p, t;
};

INLINE struct sums sums_add(struct sums a, struct sums b)
{
    return (struct sums){a.p + b.p, a.t + b.t};
}

/* Position j: x becomes its weight times its scale. The sums are those of 32 lanes, folded: of j
 * and j + 32, then j + 16, j + 8 and j + 4. */
INLINE struct sums weigh_1(float *x, const float *scales, float most, size_t j)
{
    float p = math_exp2(x[j] - most), t = QUANTIZE_MAX(p * scales[j], 0.0f);
    x[j] = t;
    return (struct sums){p, t};
}

INLINE struct sums weigh_4(float *x, const float *scales, float most, size_t j)
{
    return sums_add(sums_add(weigh_1(x, scales, most, j), weigh_1(x, scales, most, j + 32)),
                    sums_add(weigh_1(x, scales, most, j + 16), weigh_1(x, scales, most, j + 48)));
}

INLINE struct sums weigh_16(float *x, const float *scales, float most, size_t j)
{
    return sums_add(sums_add(weigh_4(x, scales, most, j), weigh_4(x, scales, most, j + 8)),
                    sums_add(weigh_4(x, scales, most, j + 4), weigh_4(x, scales, most, j + 12)));
}

/* Of a query's 64 positions. Returns what x, which becomes exp2(x - max) * scales, is to be
 * multiplied with. */
static float weigh(float *x, const float *scales, float *max, float *sum, float *factor)
{
    float most = *max;
    KERNEL_UNROLL(8)
    for (size_t j = 0; j < KERNEL_TILE; j++)
        most = QUANTIZE_MAX(x[j], most);
    struct sums lanes[4];
    KERNEL_UNROLL(1)
    for (size_t j = 0; j < 4; j++)
        lanes[j] = weigh_16(x, scales, most, j);
    struct sums all = sums_add(sums_add(lanes[0], lanes[2]), sums_add(lanes[1], lanes[3]));
    *max = most;
    *sum = all.p;
    *factor = all.t * (1.0f / KERNEL_WEIGHT_SUM);
    if (kernel_weighable(all.t))
        return KERNEL_WEIGHT_SUM / all.t;
    __builtin_memset(x, 0, KERNEL_TILE * sizeof *x);
    return 0.0f;
}

/* Integers of three queries, which stand 64 apart, to every n-th word. */
static void weights_pack(const float *x, const float *inverses, uint32_t count, uint32_t n,
                         uint64_t *to)
{
    float i0 = inverses[0], i1 = inverses[1], i2 = inverses[2];
    KERNEL_UNROLL(4)
    for (uint32_t j = 0; j < count; j++, to += n) {
        uint64_t a = (uint64_t)(int64_t)QUANTIZE_ROUND(x[j] * i0);
        uint64_t b = (uint64_t)(int64_t)QUANTIZE_ROUND(x[KERNEL_TILE + j] * i1);
        uint64_t c = (uint64_t)(int64_t)QUANTIZE_ROUND(x[2 * KERNEL_TILE + j] * i2);
        *to = a + (b << LANE_BITS) + (c << 2 * LANE_BITS);
    }
}

/* [blocks][64][words of a block] */
void swar_weigh_i8(float *x, uint32_t queries, uint32_t count, const float *scales, float *max,
                   float *sum, void *weights, float *factors)
{
    uint64_t *to = weights;
    float inverses[KERNEL_QUERIES];
    uint32_t even = count + count % 2;
    for (uint32_t h = 0; h < queries; h++) {
        float *row = x + h * KERNEL_TILE;
        for (uint32_t j = count; j < KERNEL_TILE; j++)
            row[j] = -__builtin_inff();
        inverses[h] = weigh(row, scales, &max[h], &sum[h], &factors[h]);
    }
    for (uint32_t h = queries; h % LANES; h++) {
        inverses[h] = 0.0f;
        __builtin_memset(x + h * KERNEL_TILE, 0, KERNEL_TILE * sizeof *x);
    }
    for (uint32_t h = 0, n; h < queries; h += n * LANES, to += (size_t)n * KERNEL_TILE) {
        n = block_words(queries, h);
        for (uint32_t w = 0; w < n; w++)
            weights_pack(x + (h + w * LANES) * KERNEL_TILE, inverses + h + w * LANES, even, n,
                         to + w);
    }
}

/* ---- values ---- */

/* Sums of `width` dimensions, a constant, into the accumulators of up to three queries. */
INLINE void values_store(const uint64_t *sums, size_t width, uint32_t queries, const float *factors,
                         const float *keep, float *acc, size_t acc_stride)
{
    int32_t dots[LANES][SUMS];
    for (size_t i = 0; i < width; i++) {
        int32_t split[LANES];
        lanes_split(sums[i], split);
        for (size_t l = 0; l < LANES; l++)
            dots[l][i] = split[l];
    }
    for (size_t l = 0; l < LANES && l < queries; l++, acc += acc_stride) {
        float factor = factors[l], scale = keep[l];
        for (size_t i = 0; i < width; i++)
            acc[i] = math_fma((float)dots[l][i], factor, acc[i] * scale);
    }
}

void swar_values_i8(const void *weights, const float *factors, const float *keep, uint32_t queries,
                    const int8_t *v, uint32_t head_dim, uint32_t count, float *acc,
                    uint32_t acc_stride)
{
    const uint64_t *words = weights;
    uint32_t even = count + count % 2;
    for (uint32_t h = 0, n; h < queries; h += n * LANES, words += (size_t)n * KERNEL_TILE) {
        n = block_words(queries, h);
        const uint64_t *end = words + (size_t)n * even;
        float *to = acc + (size_t)h * acc_stride;
        uint64_t sums[SUMS];
        for (uint32_t d = 0; n == 1 && d < head_dim; d += 16) {
            swar_multiply_1(words, v + d, head_dim, end, sums);
            values_store(sums, 8, queries - h, factors + h, keep + h, to + d, acc_stride);
            if (d + 8 < head_dim)
                values_store(sums + 8, 8, queries - h, factors + h, keep + h, to + d + 8,
                             acc_stride);
        }
        for (uint32_t d = 0; n == 2 && d < head_dim; d += 8) {
            swar_multiply_2(words, v + d, head_dim, end, sums);
            values_store(sums, 8, LANES, factors + h, keep + h, to + d, acc_stride);
            values_store(sums + 8, 8, queries - h - LANES, factors + h + LANES, keep + h + LANES,
                         to + d + (size_t)LANES * acc_stride, acc_stride);
        }
    }
}
