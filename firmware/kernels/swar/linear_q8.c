/* SPDX-License-Identifier: Apache-2.0 */

/* Q8 weights in layouts SWAR and LEAN, stored as u = q + 128.
 *
 * One input row, layout SWAR: three columns in one multiply. Every third byte of a word, spread at
 * bytes 1, 4 and 7, times the activations v = x + 128 at the mirrored places gives their dot
 * product in the low 24 bits of the high half (mulhu): all numbers are unsigned, so nothing borrows
 * from below, and 32 products stay under 2^21. Three multiplies cover a word's 3 + 3 + 2 bytes.
 * With the stored sum of q the offsets go: sum q x = sum u v - 128 (sum q + sum x) - 32 * 128 *
 * 128, modulo 2^24.
 *
 * One input row, layout LEAN, which has no sums: two columns in one multiply. Bytes j and j + 4 of
 * a word, at bits 0 and 32, times the activations of the bytes j + 4 and j at these places give
 * their dot product in the high half; what is in the low half is rounded away at the end. The
 * offset of u is one constant a group. Byte j = 0 is left unmasked: what lies above it is taken off
 * the factors of the others.
 *
 * Four and more input rows: three of them in one multiply. A word is a column of three rows in
 * lanes of 21 bits, enough for the sum of a group, 32 * 127 * 127 at most, and its sign. The offset
 * of u is one constant a group.
 */

#include "kernels/swar/linear.h"

#define MASK_THREE 0xFF0000FF0000FF00ull /* bytes 1, 4 and 7 */
#define MASK_TWO   0x0000FF0000FF0000ull /* bytes 2 and 5 */
#define MASK_LEAN  0x000000FF000000FFull /* bytes 0 and 4 */
#define BIAS       (32 * 128 * 128)
#define ROW_BYTES  32u /* of values in a group */
#define LANE       21u /* bits */
#define LANES      3u  /* input rows of a word */
#define SEVERAL    4u  /* input rows from which on the second way is faster */

#define INLINE static inline __attribute__((always_inline))

/* A group of one of few input rows. */
struct packed {
    uint64_t lanes[12];
    uint64_t start; /* what a sum begins with: the biases, the weights' sum apart */
    float scale;
};

/* The same without the weights' sum. */
struct lean {
    uint64_t lanes[16];
    uint64_t start;
    float scale;
};

/* A group of several input rows: words that the sums begin with; the columns, [32][words]; the
 * scales, [rows]. */

/* Bytes a row: the most that 1 to KERNEL_BLOCK rows take. */
#define PACKED 144u

_Static_assert(sizeof(struct packed) <= PACKED && sizeof(struct lean) <= PACKED, "one row");
_Static_assert((1 + KERNEL_GROUP) * 2 * 8 + SEVERAL * sizeof(float) <= SEVERAL * PACKED, "four");

/* ---- packing ---- */

/* Byte `from` of v moved to byte `to`. */
INLINE uint64_t move_byte(uint64_t v, unsigned from, unsigned to)
{
    uint64_t moved = from < to ? v << (8 * (to - from)) : v >> (8 * (from - to));
    return moved & (0xFFull << (8 * to));
}

INLINE void pack_single(struct packed *to, const struct kernel_q8a *x, uint32_t g)
{
    KERNEL_UNROLL(1)
    for (uint32_t w = 0; w < 4; w++) {
        /* 128 more in every byte. */
        uint64_t v = load_u64(x->values + g * KERNEL_GROUP + 8 * w) ^ 0x8080808080808080ull;
        uint64_t *lanes = to->lanes + 3 * w;
        lanes[0] = move_byte(v, 0, 7) | move_byte(v, 3, 4) | move_byte(v, 6, 1);
        lanes[1] = move_byte(v, 1, 7) | move_byte(v, 4, 4) | move_byte(v, 7, 1);
        lanes[2] = move_byte(v, 2, 6) | move_byte(v, 5, 3);
    }
    to->start = (uint64_t)(int64_t)(-128 * x->sums[g] - BIAS);
    to->scale = x->scales[g];
}

INLINE void pack_lean(struct lean *to, const struct kernel_q8a *x, uint32_t g)
{
    const int8_t *v = x->values + g * KERNEL_GROUP;
    KERNEL_UNROLL(1)
    for (uint32_t w = 0; w < 4; w++, v += 8) {
        uint64_t *lanes = to->lanes + 4 * w;
        for (uint32_t j = 0; j < 4; j++)
            lanes[j] = ((uint64_t)(int64_t)v[j] << 32) + (uint64_t)(int64_t)v[j + 4];
        for (uint32_t j = 1; j < 4; j++)
            lanes[j] -= lanes[0] << (8 * j);
    }
    to->start = ((uint64_t)(int64_t)(-128 * x->sums[g]) << 32) + (1ull << 31);
    to->scale = x->scales[g];
}

/* Rows 0 to 2 of x, or as many as there are, in lanes. */
INLINE uint64_t pack_lanes(const int32_t *v, uint32_t count)
{
    uint64_t lanes = 0;
    for (uint32_t i = 0; i < count; i++)
        lanes += (uint64_t)(int64_t)v[i] << (LANE * i);
    return lanes;
}

static void pack_word(const struct kernel_q8a *x, uint32_t count, uint32_t g, uint32_t words,
                      uint64_t *start, uint64_t *column)
{
    int32_t v[LANES];
    for (uint32_t i = 0; i < count; i++)
        v[i] = x[i].sums[g];
    *start = -128 * pack_lanes(v, count);
    for (uint32_t k = 0; k < KERNEL_GROUP; k++) {
        for (uint32_t i = 0; i < count; i++)
            v[i] = x[i].values[g * KERNEL_GROUP + k];
        column[k * words] = pack_lanes(v, count);
    }
}

static void pack_several(uint64_t *to, const struct kernel_q8a *x, uint32_t count, uint32_t g)
{
    uint32_t words = (count + LANES - 1) / LANES;
    float *scales = (float *)(void *)(to + words + KERNEL_GROUP * words);
    for (uint32_t i = 0; i < words; i++) {
        uint32_t rest = count - LANES * i;
        pack_word(x + LANES * i, rest < LANES ? rest : LANES, g, words, to + i, to + words + i);
    }
    for (uint32_t t = 0; t < count; t++)
        scales[t] = x[t].scales[g];
}

INLINE void pack_groups(const struct kernel_q8a *x, uint32_t count, uint32_t group0,
                        uint32_t group1, uint8_t *to, int lean)
{
    for (uint32_t g = group0; g < group1; g++, to += count * PACKED)
        if (count >= SEVERAL)
            pack_several((uint64_t *)(void *)to, x, count, g);
        else
            for (uint32_t t = 0; t < count; t++)
                if (lean)
                    pack_lean((struct lean *)(void *)(to + t * PACKED), &x[t], g);
                else
                    pack_single((struct packed *)(void *)(to + t * PACKED), &x[t], g);
}

static void pack_block(const struct kernel_q8a *x, uint32_t count, uint32_t group0, uint32_t group1,
                       uint8_t *to)
{
    pack_groups(x, count, group0, group1, to, 0);
}

static void pack_block_lean(const struct kernel_q8a *x, uint32_t count, uint32_t group0,
                            uint32_t group1, uint8_t *to)
{
    pack_groups(x, count, group0, group1, to, 1);
}

/* ---- few input rows ---- */

#if defined(__riscv)

_Static_assert(offsetof(struct packed, start) == 96, "offsets in linear_q8.S");
_Static_assert(offsetof(struct packed, scale) == 104, "offsets in linear_q8.S");

_Static_assert(offsetof(struct lean, start) == 128, "offsets in linear_q8.S");
_Static_assert(offsetof(struct lean, scale) == 136, "offsets in linear_q8.S");

swar_loop swar_q8_single, swar_q8_lean_single;

INLINE void run_single(const struct swar_rows *rows, const uint8_t *block, size_t stride,
                       uint32_t groups, float *acc, int lean)
{
    swar_run_single(lean ? swar_q8_lean_single : swar_q8_single, rows, block, stride, groups, acc);
}

#else

INLINE uint64_t multiply_high(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

/* The 24 bits of a row's sum; it is `sum` of q. */
INLINE int32_t dot(const uint8_t *row, const struct packed *in, int32_t sum)
{
    uint64_t total = in->start - 128 * (uint64_t)(int64_t)sum;
    for (uint32_t w = 0; w < 4; w++) {
        uint64_t v = load_u64(row + 8 * w);
        total += multiply_high((v << 8) & MASK_THREE, in->lanes[3 * w]);
        total += multiply_high(v & MASK_THREE, in->lanes[3 * w + 1]);
        total += multiply_high(v & MASK_TWO, in->lanes[3 * w + 2]);
    }
    return (int32_t)((int64_t)(total << 40) >> 40);
}

INLINE int32_t dot_lean(const uint8_t *row, const struct lean *in)
{
    uint64_t total = in->start;
    for (uint32_t w = 0; w < 4; w++) {
        uint64_t v = load_u64(row + 8 * w);
        total += v * in->lanes[4 * w];
        for (uint32_t j = 1; j < 4; j++)
            total += ((v >> (8 * j)) & MASK_LEAN) * in->lanes[4 * w + j];
    }
    return (int32_t)(total >> 32);
}

INLINE int32_t dot_row(const uint8_t *values, const uint8_t *scales, size_t r, const uint8_t *block,
                       int lean)
{
    const uint8_t *row = values + ROW_BYTES * r;
    if (lean)
        return dot_lean(row, (const struct lean *)(const void *)block);
    int16_t sum;
    __builtin_memcpy(&sum, scales + 2 * (KERNEL_TILE + r), sizeof sum);
    return dot(row, (const struct packed *)(const void *)block, sum);
}

INLINE void run_single(const struct swar_rows *rows, const uint8_t *block, size_t stride,
                       uint32_t groups, float *acc, int lean)
{
    const uint8_t *values = rows->values, *scales = rows->scales;
    for (; groups; groups--, values += rows->record, scales += rows->record, block += stride) {
        float scale = lean ? ((const struct lean *)(const void *)block)->scale
                           : ((const struct packed *)(const void *)block)->scale;
        for (size_t r = 0; r < rows->count; r++)
            acc[r] = __builtin_fmaf((float)dot_row(values, scales, r, block, lean),
                                    scale * load_bf16(scales, r), acc[r]);
    }
}

#endif

/* ---- several input rows ---- */

/* sums[r][i] for the `words` words of `in`: what they begin with, then the columns. */
#if defined(__riscv)

typedef void sums_loop(const uint8_t *values, const uint64_t *in, uint64_t (*sums)[LANES],
                       uint64_t (*end)[LANES]);
sums_loop swar_q8_sums2, swar_q8_sums3;

static void find_sums(const uint8_t *values, size_t rows, const uint64_t *in, uint32_t words,
                      uint64_t (*sums)[LANES])
{
    (words == 2 ? swar_q8_sums2 : swar_q8_sums3)(values, in, sums, sums + rows);
}

#else

static void find_sums(const uint8_t *values, size_t rows, const uint64_t *in, uint32_t words,
                      uint64_t (*sums)[LANES])
{
    for (size_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < words; i++) {
            sums[r][i] = in[i];
            for (uint32_t k = 0; k < KERNEL_GROUP; k++)
                sums[r][i] += values[ROW_BYTES * r + k] * in[words + k * words + i];
        }
}

#endif

/* The lane of a sum, those below it rounded away. */
INLINE int32_t lane_sum(uint64_t sum, uint32_t lane)
{
    uint64_t half = lane ? 1ull << (LANE * lane - 1) : 0;
    uint32_t above = 64 - LANE * (lane + 1);
    return (int32_t)((int64_t)((sum + half) << above) >> (64 - LANE));
}

/* The `lanes` input rows, a constant, of word `word` of the sums; s are the weights' scales. */
INLINE void add_lanes(uint64_t (*sums)[LANES], uint32_t word, uint32_t lanes, const float *s,
                      size_t rows, const float *scales, float *acc, size_t acc_stride)
{
    float scale[LANES], *out[LANES];
    for (uint32_t lane = 0; lane < lanes; lane++) {
        scale[lane] = scales[lane];
        out[lane] = acc + lane * acc_stride;
    }
    for (size_t r = 0; r < rows; r += 4, s += 4, sums += 4) {
        for (size_t i = 0; i < 4; i++) {
            uint64_t sum = sums[i][word];
            for (uint32_t lane = 0; lane < lanes; lane++)
                out[lane][i] =
                    __builtin_fmaf((float)lane_sum(sum, lane), scale[lane] * s[i], out[lane][i]);
        }
        for (uint32_t lane = 0; lane < lanes; lane++)
            out[lane] += 4;
    }
}

static void add_sums(uint64_t (*sums)[LANES], const uint8_t *w_scales, size_t rows,
                     const float *scales, uint32_t count, float *acc, size_t acc_stride)
{
    float s[KERNEL_TILE];
    for (size_t r = 0; r < rows; r++)
        s[r] = load_bf16(w_scales, r);
    uint32_t i = 0;
    for (; count >= LANES; count -= LANES, i++, scales += LANES, acc += LANES * acc_stride)
        add_lanes(sums, i, LANES, s, rows, scales, acc, acc_stride);
    if (count == 2)
        add_lanes(sums, i, 2, s, rows, scales, acc, acc_stride);
    else if (count == 1)
        add_lanes(sums, i, 1, s, rows, scales, acc, acc_stride);
}

static void run_several(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                        uint32_t groups, float *acc, size_t acc_stride)
{
    const uint8_t *values = rows->values, *scales = rows->scales;
    uint32_t words = (count + LANES - 1) / LANES;
    for (; groups; groups--, values += rows->record, scales += rows->record) {
        const uint64_t *in = (const uint64_t *)(const void *)block;
        const float *in_scales = (const float *)(const void *)(in + (1 + KERNEL_GROUP) * words);
        uint64_t sums[KERNEL_TILE][LANES];
        find_sums(values, rows->count, in, words, sums);
        add_sums(sums, scales, rows->count, in_scales, count, acc, acc_stride);
        block += count * PACKED;
    }
}

INLINE void run_rows(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                     uint32_t groups, float *acc, size_t acc_stride, int lean)
{
    if (count < SEVERAL)
        for (uint32_t t = 0; t < count; t++)
            run_single(rows, block + t * PACKED, count * PACKED, groups, acc + t * acc_stride,
                       lean);
    else
        run_several(rows, block, count, groups, acc, acc_stride);
}

/* Functions of one layout. */
#define VERSION(layout, lean)                                                                      \
    static void run##layout(const struct swar_rows *rows, const uint8_t *block, uint32_t count,    \
                            uint32_t groups, float *acc, size_t acc_stride)                        \
    {                                                                                              \
        run_rows(rows, block, count, groups, acc, acc_stride, lean);                               \
    }                                                                                              \
    static void linear##layout(const struct kernel_weight *w, const uint8_t *block,                \
                               uint32_t count, uint32_t row0, uint32_t row1, float *acc,           \
                               uint32_t acc_stride)                                                \
    {                                                                                              \
        swar_linear_packed(run##layout, ROW_BYTES, &swar_packed_q8##layout, w, block, count, row0, \
                           row1, acc, acc_stride);                                                 \
    }                                                                                              \
    const struct kernel_packed swar_packed_q8##layout = {PACKED, pack_block##layout,               \
                                                         linear##layout};                          \
    void swar_linear_q8##layout(const struct kernel_weight *w, const struct kernel_q8a *x,         \
                                uint32_t count, uint32_t row0, uint32_t row1, float *acc,          \
                                uint32_t acc_stride)                                               \
    {                                                                                              \
        swar_linear(run##layout, ROW_BYTES, &swar_packed_q8##layout, w, x, count, row0, row1, acc, \
                    acc_stride);                                                                   \
    }

VERSION(, 0)
VERSION(_lean, 1)
