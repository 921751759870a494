/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

/* The kernel interface: what ops call, and what the versions of each family implement.
 *
 * Every version of a kernel gives the same bits (docs/numerics.md). One table is chosen when the
 * firmware is built (kernels=scalar or rvv), or in a program for this machine when it starts; it
 * may choose at load time by the weight's layout. Every table can read every layout: an image
 * packed for other kernels runs, only slower.
 */

#include <stdint.h>

/* A quantized activation row (Q8A), decoded from the arena. */
struct kernel_q8a {
    const int8_t *values; /* k, padded with zeros to a multiple of 32; 64-byte aligned */
    const float *scales;  /* one a group of 32 */
    const int32_t *sums;  /* sum of the group's values */
};

/* A tiled weight as kernels see it: validated once, trusted afterwards. */
struct kernel_weight {
    const uint8_t *data;  /* 64-byte aligned */
    uint32_t format;      /* IMAGE_FORMAT_* */
    uint32_t layout;      /* IMAGE_LAYOUT_* */
    uint32_t rows;        /* padded to 64 */
    uint32_t cols;        /* padded to whole records */
    uint32_t record;      /* bytes of one record: of a tile and group, or of a tile and column */
    uint64_t tile_stride; /* bytes from tile to tile */
};

/* acc[t * acc_stride + (r - row0)] = dot product of weight row r with input row t, for r in [row0,
 * row1) and t in [0, count). row0 and row1 are multiples of 16 within one tile of 64 rows; count is
 * at least 1. A kernel reads a weight once for several of the input rows. */
typedef void kernel_linear_q8a(const struct kernel_weight *w, const struct kernel_q8a *x,
                               uint32_t count, uint32_t row0, uint32_t row1, float *acc,
                               uint32_t acc_stride);

/* Input rows in one block of packed ones. */
#define KERNEL_BLOCK 8u

/* A version that multiplies with rearranged input rows, which are worth keeping from tile to tile.
 */
struct kernel_packed {
    uint32_t record; /* bytes of one group of one row, a multiple of 8 */

    /* Groups [group0, group1) of `count` rows, 1 to KERNEL_BLOCK, to records [group][row] at `to`,
     * 8-byte aligned; those of all groups make a block. */
    void (*pack)(const struct kernel_q8a *x, uint32_t count, uint32_t group0, uint32_t group1,
                 uint8_t *to);

    /* As kernel_linear_q8a, with a block of which all groups are packed. */
    void (*linear)(const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);
};

/* The same for weights of floats: x[t] points to cols floats. */
typedef void kernel_linear_f32(const struct kernel_weight *w, const float *const *x, uint32_t count,
                               uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

/* Queries of one KV head that attention kernels take together: its query heads, of one row or of
 * several. */
#define KERNEL_QUERIES 18u

/* Words of 64 bits that hold so many queries, or the weights of so many, in a family's own order.
 */
#define KERNEL_QUERY_WORDS(queries, head_dim) (((queries) + 2u) / 3u * (head_dim))
#define KERNEL_WEIGHT_WORDS(queries)          (((queries) + 2u) / 3u * IMAGE_PAGE_TOKENS)

/* Weights of a block are integers; this is what they add up to, but for their rounding. */
#define KERNEL_WEIGHT_SUM 8192.0f

/* A sum of weights that is at least this, and finite, is made integers of; any other gives zeros.
 */
#define KERNEL_WEIGHT_LEAST 0x1p-100f

struct kernel_table {
    const char *name; /* of the family, which is its folder's */

    /* The version for a weight's format and layout; never NULL for a validated weight of groups. */
    kernel_linear_q8a *(*linear_q8a)(uint32_t format, uint32_t layout);

    /* The same for a weight of floats, in the one order that these have. */
    kernel_linear_f32 *(*linear_f32)(uint32_t format);

    /* What is faster than linear_q8a wherever the packed rows can be kept; NULL: nothing. */
    const struct kernel_packed *(*packed)(uint32_t format, uint32_t layout);

    /* values, scales and sums of n floats, in groups of 32; values are padded with zeros to the
     * group. */
    void (*quantize)(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums);

    /* Sums in 32 virtual lanes, folded 16, 8, 4, 2, 1. */
    float (*sum)(const float *x, uint32_t n);
    float (*sum_squares)(const float *x, float mean, uint32_t n); /* of x - mean */

    /* y = (x - mean) * factor, times weight, plus bias; both at once in one rounding. NULL: left
     * out. y may be x. */
    void (*normalize)(const float *x, uint32_t n, float mean, float factor, const float *weight,
                      const float *bias, float *y);

    void (*activate)(float *x, uint32_t n, uint32_t kind); /* IMAGE_ACTIVATION_*, in place */

    /* Index of the greatest, the first of several, NaN passed over; 0 where there is none. */
    uint32_t (*argmax)(const float *x, uint32_t n);

    /* The sampler's weights (docs/numerics.md). weigh: w[i] = 2^40 exp((x[i] - best) * factor), the
     * exponent raised to -30 where it is less or not a number; best is finite, and no x is above
     * it. measure: the sum of the whole parts of those w that have x at least `cut`, which is a
     * number; `count` is raised by how many these are. find: writes the indices of those x that are
     * at least `low` and below `high`, ascending, and returns how many. */
    void (*weigh)(const float *x, uint32_t n, float best, float factor, float *w);
    uint64_t (*measure)(const float *x, const float *w, uint32_t n, float cut, uint32_t *count);
    uint32_t (*find)(const float *x, uint32_t n, float low, float high, uint32_t *indices);

    /* Attention over one page of 64 positions and one KV head (ops/kv_page.h), for `queries`
     * queries of that head, 1 to KERNEL_QUERIES. Scores of a query stand 64 apart, its accumulators
     * acc_stride. head_dim is a multiple of 8, at least 8; count is 1 to 64. Scores and scales have
     * room for whole threes of queries; of a page all 64 positions may be read, and as many bytes
     * behind them as one of them has.
     *
     * quantize_head: values with one scale, which is returned, to to[i * step].
     * pack_queries: q, int8 [queries][head_dim], in the order in which score_i8 reads it.
     * score_i8: out[h][j] = (float)(q[h] . key j) * (scales[h] * key_scales[j]) for j in [0,
     * count), and anything from there up to 64; k is [head_dim][64], so lanes are positions.
     * softmax: max[h] is raised to the greatest of x[h][j], j in [0, count), NaN passed over; then
     * x[h][j] = w = exp2(x[h][j] - max[h]), and sum[h] is the sum of w in 32 lanes.
     * weigh_i8: max and sum likewise; then t = w * scales[j], 0 where that is not above 0; total is
     * the sum of t in 32 lanes, factors[h] = total / KERNEL_WEIGHT_SUM, and the weights are t *
     * (KERNEL_WEIGHT_SUM / total), rounded to integers, in the order in which values_i8 reads them;
     * x[h] is scratch, all 64 of it.
     * values_i8: isum = the sum of weight[h][j] * v[j][d], j in [0, count); acc[h][d] =
     * fma((float)isum, factors[h], acc[h][d] * keep[h]); v is [64][head_dim].
     * dot_f32: out[j] = q . key j in 32 lanes, for j in [0, count); k is [count][head_dim].
     * axpy_f32: acc[d] = fma(p[j], v[j][d], acc[d]), j ascending in [0, count); v is
     * [count][head_dim]. */
    uint32_t queries; /* most that it pays to take together */
    float (*quantize_head)(const float *x, uint32_t head_dim, int8_t *to, uint32_t step);
    void (*pack_queries)(const int8_t *q, uint32_t queries, uint32_t head_dim, void *packed);
    void (*score_i8)(const void *packed, const float *scales, uint32_t queries, const int8_t *k,
                     const float *key_scales, uint32_t head_dim, uint32_t count, float *out);
    void (*softmax)(float *x, uint32_t queries, uint32_t count, float *max, float *sum);
    void (*weigh_i8)(float *x, uint32_t queries, uint32_t count, const float *scales, float *max,
                     float *sum, void *weights, float *factors);
    void (*values_i8)(const void *weights, const float *factors, const float *keep,
                      uint32_t queries, const int8_t *v, uint32_t head_dim, uint32_t count,
                      float *acc, uint32_t acc_stride);
    void (*dot_f32)(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out);
    void (*axpy_f32)(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc);
};

/* Of the family that runs. Where start-up chooses (KERNELS_CHOSEN), the port copies the table here
 * before any hart or engine starts; else it is the family's own, without a way around. */
#if KERNELS_CHOSEN
extern struct kernel_table kernels;
#else
extern const struct kernel_table kernels;
#endif

#endif
