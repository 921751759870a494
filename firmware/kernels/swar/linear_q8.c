/* SPDX-License-Identifier: Apache-2.0 */

/* Q8 weights in layout SWAR: three columns of a row in one multiply.
 *
 * A weight is stored as u = q + 128. Every third byte of a word, spread at bytes 1, 4 and 7, times
 * the activations v = x + 128 at the mirrored places gives their dot product in the low 24 bits of
 * the high half (mulhu): all numbers are unsigned, so nothing borrows from below, and 32 products
 * stay under 2^21. Three multiplies cover a word's 3 + 3 + 2 bytes. With the stored sum of q the
 * offsets go: sum q x = sum u v - 128 (sum q + sum x) - 32 * 128 * 128.
 */

#include "kernels/load.h"
#include "kernels/swar/swar.h"

#define MASK  0xFF0000FF0000FF00ull
#define BIAS  (32 * 128 * 128)
#define BLOCK 4u /* input rows that share one unpacking of a weight */

#define INLINE static inline __attribute__((always_inline))

/* The activations of one group and row. */
struct packed {
    uint64_t lanes[12];
    int32_t offset; /* what the products of the biases add up to, the weights' sum apart */
    float scale;
};

INLINE uint64_t multiply_high(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

INLINE uint64_t biased(int8_t q)
{
    return (uint64_t)(q + 128);
}

INLINE void pack(struct packed *to, const struct kernel_q8a *x, uint32_t g)
{
    for (uint32_t w = 0; w < 4; w++) {
        const int8_t *q = x->values + g * KERNEL_GROUP + 8 * w;
        uint64_t *lanes = to->lanes + 3 * w;
        lanes[0] = biased(q[0]) << 56 | biased(q[3]) << 32 | biased(q[6]) << 8;
        lanes[1] = biased(q[1]) << 56 | biased(q[4]) << 32 | biased(q[7]) << 8;
        lanes[2] = biased(q[2]) << 56 | biased(q[5]) << 32;
    }
    to->offset = 128 * x->sums[g] + BIAS;
    to->scale = x->scales[g];
}

/* Twelve words of three bytes, the last of each three of two, from a row's 32 bytes. */
INLINE void unpack(uint64_t *lanes, const uint8_t *row)
{
    for (uint32_t w = 0; w < 4; w++) {
        uint64_t v = kernel_load_u64(row + 8 * w);
        lanes[3 * w] = (v << 8) & MASK;
        lanes[3 * w + 1] = v & MASK;
        lanes[3 * w + 2] = (v >> 8) & MASK;
    }
}

INLINE int32_t dot(const uint64_t *weights, const uint64_t *lanes)
{
    uint64_t even = 0, odd = 0;
    for (uint32_t i = 0; i < 12; i += 2) {
        even += multiply_high(weights[i], lanes[i]);
        odd += multiply_high(weights[i + 1], lanes[i + 1]);
    }
    return (int32_t)((even + odd) & 0xFFFFFF);
}

INLINE int32_t load_sum(const uint8_t *p, uint32_t r)
{
    int16_t v;
    __builtin_memcpy(&v, __builtin_assume_aligned(p + 2 * r, 2), sizeof v);
    return 128 * v;
}

/* One input row: its lanes stay in registers over all weight rows. */
INLINE void group_single(const uint8_t *record, uint32_t lane, uint32_t rows,
                         const struct packed *x, float *acc)
{
    const struct packed in = *x;
    const uint8_t *values = record + 32 * lane;
    const uint8_t *scales = record + 32 * KERNEL_TILE + 2 * lane;
#pragma clang loop unroll_count(2)
    for (uint32_t r = 0; r < rows; r++) {
        uint64_t weights[12];
        unpack(weights, values + 32 * r);
        int32_t sum = dot(weights, in.lanes) - in.offset - load_sum(scales + 2 * KERNEL_TILE, r);
        acc[r] = __builtin_fmaf((float)sum, in.scale * kernel_load_bf16(scales, r), acc[r]);
    }
}

/* Up to BLOCK input rows: a weight row is unpacked once and stays in registers. */
INLINE void group_block(const uint8_t *record, uint32_t lane, uint32_t rows, const struct packed *x,
                        uint32_t count, float *acc, uint32_t acc_stride)
{
    const uint8_t *values = record + 32 * lane;
    const uint8_t *scales = record + 32 * KERNEL_TILE + 2 * lane;
    for (uint32_t r = 0; r < rows; r++) {
        uint64_t weights[12];
        unpack(weights, values + 32 * r);
        float s = kernel_load_bf16(scales, r);
        int32_t row_sum = load_sum(scales + 2 * KERNEL_TILE, r);
#pragma clang loop unroll(disable)
        for (uint32_t t = 0; t < count; t++) {
            float *out = acc + t * acc_stride + r;
            int32_t sum = dot(weights, x[t].lanes) - x[t].offset - row_sum;
            *out = __builtin_fmaf((float)sum, x[t].scale * s, *out);
        }
    }
}

void swar_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    uint32_t rows = row1 - row0;
    uint32_t lane = row0 % KERNEL_TILE;
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
            if (block == 1)
                group_single(record, lane, rows, packed, out);
            else
                group_block(record, lane, rows, packed, block, out, acc_stride);
        }
    }
}
