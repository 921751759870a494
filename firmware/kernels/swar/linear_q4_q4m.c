/* SPDX-License-Identifier: Apache-2.0 */

/* Q4 and Q4M weights in layout SWAR: four consecutive columns of a row in one multiply.
 *
 * A word holds 16 columns: bits 16 l + 4 j are column 4 j + l. Masking every fourth nibble leaves
 * four columns in 16-bit lanes; the activations lie in the opposite order, so the top lane of the
 * product is the dot product of four, and the eight multiplies of a group add up there. The other
 * lanes hold at most 32512 in magnitude, and 2^47 rounds their borrow away. The offset of 8 of
 * every nibble is one constant a group: all of it is linear modulo 2^64. So a word need not be
 * masked for its lowest nibbles: what the higher ones add is taken from their own activations.
 */

#include "kernels/swar/linear.h"

#define MASK  0x000F000F000F000Full
#define EIGHT 0x0008000800080008ull

#define ROW_BYTES 16u /* of values in a group */

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
    for (uint32_t w = 0; w < 8; w += 4) {
        uint64_t first = pack_lanes(q + 4 * w);
        to->lanes[w] = first;
        sum += first;
        for (uint32_t j = 1; j < 4; j++) {
            uint64_t lanes = pack_lanes(q + 4 * (w + j));
            to->lanes[w + j] = lanes - (first << (4 * j));
            sum += lanes;
        }
    }
    to->start = (1ull << 47) - EIGHT * sum;
    to->scale = x->scales[g];
    to->offset = to->scale * (float)x->sums[g];
}

#if defined(__riscv)

_Static_assert(sizeof(struct packed) == 80, "offsets in linear_q4_q4m.S");
_Static_assert(offsetof(struct packed, start) == 64, "offsets in linear_q4_q4m.S");
_Static_assert(offsetof(struct packed, scale) == 72, "offsets in linear_q4_q4m.S");
_Static_assert(offsetof(struct packed, offset) == 76, "offsets in linear_q4_q4m.S");

swar_loop swar_q4_single, swar_q4_two, swar_q4_four, swar_q4_eight;
swar_loop swar_q4m_single, swar_q4m_two, swar_q4m_four, swar_q4m_eight;

static const struct swar_loops loops_q4 = {swar_q4_single, swar_q4_two, swar_q4_four,
                                           swar_q4_eight};
static const struct swar_loops loops_q4m = {swar_q4m_single, swar_q4m_two, swar_q4m_four,
                                            swar_q4m_eight};

static void run_q4(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                   uint32_t groups, float *acc, size_t acc_stride)
{
    swar_run_loops(&loops_q4, rows, block, count, groups, acc, acc_stride);
}

static void run_q4m(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                    uint32_t groups, float *acc, size_t acc_stride)
{
    swar_run_loops(&loops_q4m, rows, block, count, groups, acc, acc_stride);
}

#else

/* Eight factors from a row's 32 nibbles: four lanes each, but for the first of a word, which is the
 * word. */
INLINE void unpack(uint64_t *lanes, const uint8_t *row, uint64_t mask)
{
    for (uint32_t w = 0; w < 2; w++) {
        uint64_t v = load_u64(row + 8 * w);
        lanes[4 * w] = v;
        for (uint32_t j = 1; j < 4; j++)
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

INLINE void row(const uint8_t *values, const uint8_t *scales, const struct packed *in,
                uint32_t count, float *acc, size_t acc_stride, int minimum)
{
    uint64_t weights[8];
    unpack(weights, values, MASK);
    float s = load_bf16(scales, 0);
    float m = minimum ? load_bf16(scales, KERNEL_TILE) : 0.0f;
    for (; count; count--, in++, acc += acc_stride)
        *acc = finish(*acc, dot(weights, in->lanes, in->start), s, m, in, minimum);
}

INLINE void run(const struct swar_rows *rows, const uint8_t *block, uint32_t count, uint32_t groups,
                float *acc, size_t acc_stride, int minimum)
{
    const struct packed *in = (const struct packed *)(const void *)block;
    const uint8_t *values = rows->values, *scales = rows->scales;
    for (; groups; groups--, values += rows->record, scales += rows->record, in += count)
        for (size_t r = 0; r < rows->count; r++)
            row(values + 16 * r, scales + 2 * r, in, count, acc + r, acc_stride, minimum);
}

static void run_q4(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                   uint32_t groups, float *acc, size_t acc_stride)
{
    run(rows, block, count, groups, acc, acc_stride, 0);
}

static void run_q4m(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                    uint32_t groups, float *acc, size_t acc_stride)
{
    run(rows, block, count, groups, acc, acc_stride, 1);
}

#endif

static void pack_block(const struct kernel_q8a *x, uint32_t count, uint32_t group0, uint32_t group1,
                       uint8_t *to)
{
    struct packed *record = (struct packed *)(void *)to;
    for (uint32_t g = group0; g < group1; g++)
        for (uint32_t t = 0; t < count; t++)
            pack(record++, &x[t], g);
}

static void linear_q4(const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                      uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear_packed(run_q4, ROW_BYTES, &swar_packed_q4, w, block, count, row0, row1, acc,
                       acc_stride);
}

static void linear_q4m(const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                       uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear_packed(run_q4m, ROW_BYTES, &swar_packed_q4m, w, block, count, row0, row1, acc,
                       acc_stride);
}

const struct kernel_packed swar_packed_q4 = {sizeof(struct packed), pack_block, linear_q4};
const struct kernel_packed swar_packed_q4m = {sizeof(struct packed), pack_block, linear_q4m};

void swar_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear(run_q4, ROW_BYTES, &swar_packed_q4, w, x, count, row0, row1, acc, acc_stride);
}

void swar_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                     uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear(run_q4m, ROW_BYTES, &swar_packed_q4m, w, x, count, row0, row1, acc, acc_stride);
}
