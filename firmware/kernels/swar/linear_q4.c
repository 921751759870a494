/* SPDX-License-Identifier: Apache-2.0 */

/* Q4 and Q4M weights in layout SWAR: four consecutive columns of a row in one multiply.
 *
 * A word holds 16 columns: bits 16 l + 4 j are column 4 j + l. Masking every fourth nibble leaves
 * four columns in 16-bit lanes; the activations lie in the opposite order, so the top lane of the
 * product is the dot product of four, and the eight multiplies of a group add up there. The other
 * lanes hold at most 32512 in magnitude, and 2^47 rounds their borrow away. The offset of 8 of
 * every nibble is one constant a group: all of it is linear modulo 2^64.
 */

#include "kernels/load.h"
#include "kernels/swar/swar.h"

#define MASK  0x000F000F000F000Full
#define EIGHT 0x0008000800080008ull
#define BLOCK 4u /* input rows that share one unpacking of a weight */

#define INLINE static inline __attribute__((always_inline))

/* The activations of one group and row. */
struct packed {
    uint64_t lanes[8];
    uint64_t start; /* what a sum begins with */
    float scale;
    float offset; /* scale times the sum of the activations */
};

/* Four bytes as 16-bit lanes in the opposite order. */
INLINE uint64_t pack_lanes(const int8_t *q)
{
    return (uint64_t)(int64_t)q[3] + ((uint64_t)(int64_t)q[2] << 16) +
           ((uint64_t)(int64_t)q[1] << 32) + ((uint64_t)(int64_t)q[0] << 48);
}

INLINE void pack(struct packed *to, const struct kernel_q8a *x, uint32_t g)
{
    const int8_t *q = x->values + g * KERNEL_GROUP;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 8; i++) {
        to->lanes[i] = pack_lanes(q + 4 * i);
        sum += to->lanes[i];
    }
    to->start = (1ull << 47) - EIGHT * sum;
    to->scale = x->scales[g];
    to->offset = to->scale * (float)x->sums[g];
}

/* Eight words of four lanes from a row's 32 nibbles. */
INLINE void unpack(uint64_t *lanes, const uint8_t *row, uint64_t mask)
{
    for (uint32_t w = 0; w < 2; w++) {
        uint64_t v = kernel_load_u64(row + 8 * w);
        for (uint32_t j = 0; j < 4; j++)
            lanes[4 * w + j] = (v >> (4 * j)) & mask;
    }
}

INLINE int32_t dot(const uint64_t *weights, const uint64_t *lanes, uint64_t start)
{
    uint64_t even = start, odd = 0;
    for (uint32_t i = 0; i < 8; i += 2) {
        even += weights[i] * lanes[i];
        odd += weights[i + 1] * lanes[i + 1];
    }
    return (int32_t)((int64_t)(even + odd) >> 48);
}

INLINE float finish(float acc, int32_t sum, float w_scale, float w_minimum, const struct packed *x,
                    int minimum)
{
    acc = __builtin_fmaf((float)sum, x->scale * w_scale, acc);
    return minimum ? __builtin_fmaf(w_minimum, x->offset, acc) : acc;
}

/* One input row: its lanes stay in registers over all weight rows. */
INLINE void group_single(const uint8_t *values, const uint8_t *scales, size_t rows,
                         const struct packed *x, float *acc, int minimum)
{
    const struct packed in = *x;
    uint64_t mask = MASK;
    KERNEL_KEEP(mask);
    float *end = acc + rows;
    KERNEL_UNROLL(2)
    for (; acc != end; acc++, values += 16, scales += 2) {
        uint64_t weights[8];
        unpack(weights, values, mask);
        float m = minimum ? kernel_load_bf16(scales, KERNEL_TILE) : 0.0f;
        *acc = finish(*acc, dot(weights, in.lanes, in.start), kernel_load_bf16(scales, 0), m, &in,
                      minimum);
    }
}

/* Several input rows: two weight rows are unpacked once and stay in registers. */
INLINE void group_block(const uint8_t *values, const uint8_t *scales, size_t rows,
                        const struct packed *x, size_t count, float *acc, size_t acc_stride,
                        int minimum)
{
    uint64_t mask = MASK;
    KERNEL_KEEP(mask);
    const struct packed *x_end = x + count;
    for (float *end = acc + rows; acc != end; acc += 2, values += 32, scales += 4) {
        uint64_t weights[2][8];
        float s[2], m[2] = {0};
        for (uint32_t i = 0; i < 2; i++) {
            unpack(weights[i], values + 16 * i, mask);
            s[i] = kernel_load_bf16(scales, i);
            if (minimum)
                m[i] = kernel_load_bf16(scales, KERNEL_TILE + i);
        }
        float *out = acc;
        KERNEL_UNROLL(1)
        for (const struct packed *in = x; in != x_end; in++, out += acc_stride)
            for (uint32_t i = 0; i < 2; i++)
                out[i] =
                    finish(out[i], dot(weights[i], in->lanes, in->start), s[i], m[i], in, minimum);
    }
}

/* The registers just suffice, so each loop is a function of its own. */
#define OUT_OF_LINE static __attribute__((noinline)) void

OUT_OF_LINE single_q4(const uint8_t *values, const uint8_t *scales, size_t rows,
                      const struct packed *x, float *acc)
{
    group_single(values, scales, rows, x, acc, 0);
}

OUT_OF_LINE single_q4m(const uint8_t *values, const uint8_t *scales, size_t rows,
                       const struct packed *x, float *acc)
{
    group_single(values, scales, rows, x, acc, 1);
}

OUT_OF_LINE block_q4(const uint8_t *values, const uint8_t *scales, size_t rows,
                     const struct packed *x, size_t count, float *acc, size_t acc_stride)
{
    group_block(values, scales, rows, x, count, acc, acc_stride, 0);
}

OUT_OF_LINE block_q4m(const uint8_t *values, const uint8_t *scales, size_t rows,
                      const struct packed *x, size_t count, float *acc, size_t acc_stride)
{
    group_block(values, scales, rows, x, count, acc, acc_stride, 1);
}

INLINE void linear(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride, int minimum)
{
    size_t rows = row1 - row0, lane = row0 % KERNEL_TILE;
    for (uint32_t t0 = 0; t0 < count; t0 += BLOCK) {
        uint32_t block = count - t0 < BLOCK ? count - t0 : BLOCK;
        float *out = acc + t0 * acc_stride;
        for (uint32_t t = 0; t < block; t++)
            __builtin_memset(out + t * acc_stride, 0, rows * sizeof(float));
        const uint8_t *record = kernel_tile(w, row0);
        for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
            struct packed packed[BLOCK];
            for (uint32_t t = 0; t < block; t++)
                pack(&packed[t], &x[t0 + t], g);
            const uint8_t *values = record + 16 * lane;
            const uint8_t *scales = record + 16 * KERNEL_TILE + 2 * lane;
            if (block == 1)
                (minimum ? single_q4m : single_q4)(values, scales, rows, packed, out);
            else
                (minimum ? block_q4m : block_q4)(values, scales, rows, packed, block, out,
                                                 acc_stride);
        }
    }
}

void swar_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 0);
}

void swar_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                     uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    linear(w, x, count, row0, row1, acc, acc_stride, 1);
}
