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
INLINE void unpack(uint64_t *lanes, const uint8_t *row, uint64_t mask)
{
    for (uint32_t w = 0; w < 4; w++) {
        uint64_t v = kernel_load_u64(row + 8 * w);
        lanes[3 * w] = (v << 8) & mask;
        lanes[3 * w + 1] = v & mask;
        lanes[3 * w + 2] = (v >> 8) & mask;
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

/* 128 times the stored sum of a row's q; it lies behind the scale. */
INLINE int32_t load_sum(const uint8_t *scale)
{
    int16_t v;
    __builtin_memcpy(&v, __builtin_assume_aligned(scale + 2 * KERNEL_TILE, 2), sizeof v);
    return 128 * v;
}

/* One input row: its lanes stay in registers over all weight rows. Out of line, for the registers
 * just suffice. */
static __attribute__((noinline)) void group_single(const uint8_t *values, const uint8_t *scales,
                                                   size_t rows, const struct packed *x, float *acc)
{
    const struct packed in = *x;
    uint64_t mask = MASK;
    KERNEL_KEEP(mask);
    float *end = acc + rows;
    KERNEL_UNROLL(1)
    for (; acc != end; acc++, values += 32, scales += 2) {
        uint64_t weights[12];
        unpack(weights, values, mask);
        int32_t sum = dot(weights, in.lanes) - in.offset - load_sum(scales);
        *acc = __builtin_fmaf((float)sum, in.scale * kernel_load_bf16(scales, 0), *acc);
    }
}

/* Several input rows: a weight row is unpacked once and stays in registers. */
static __attribute__((noinline)) void group_block(const uint8_t *values, const uint8_t *scales,
                                                  size_t rows, const struct packed *x, size_t count,
                                                  float *acc, size_t acc_stride)
{
    uint64_t mask = MASK;
    KERNEL_KEEP(mask);
    const struct packed *x_end = x + count;
    for (float *end = acc + rows; acc != end; acc++, values += 32, scales += 2) {
        uint64_t weights[12];
        unpack(weights, values, mask);
        float s = kernel_load_bf16(scales, 0);
        int32_t row_sum = load_sum(scales);
        float *out = acc;
        KERNEL_UNROLL(1)
        for (const struct packed *in = x; in != x_end; in++, out += acc_stride) {
            int32_t sum = dot(weights, in->lanes) - in->offset - row_sum;
            *out = __builtin_fmaf((float)sum, in->scale * s, *out);
        }
    }
}

void swar_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
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
            const uint8_t *values = record + 32 * lane;
            const uint8_t *scales = record + 32 * KERNEL_TILE + 2 * lane;
            if (block == 1)
                group_single(values, scales, rows, packed, out);
            else
                group_block(values, scales, rows, packed, block, out, acc_stride);
        }
    }
}
