/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_X86_LINEAR_H
#define KERNELS_X86_LINEAR_H

/* Weights of groups in layout RVV times quantized rows, for vectors of any width and any way to
 * multiply bytes.
 *
 * A file includes vectors256.h or vectors512.h, defines the three functions below and includes
 * this. A strip is as many rows as a vector has bytes, a quad four columns of it: four vectors in
 * which each row has 32 bits. Unpacking leaves rows 4j to 4j + 3 of each 16 in vector j; sums and
 * scales stay in that order until the end. Weights are taken as bytes without a sign where a
 * multiplication wants that, and `start` has taken off what they are too large by.
 *
 * One input row is multiplied as weights are unpacked. For several a group is unpacked once into
 * the L1 cache, and multiplied with two input rows at a time, for sums of more do not fit into 16
 * registers.
 */

#include "kernels/load.h"

/* How a weight's bytes are stored; a constant wherever this is inlined. */
enum linear_kind { LINEAR_NIBBLES, LINEAR_BYTES };

/* The sum of a row of weights before the first product, where `sum` is that of the group's input;
 * sum += products of a quad's weights and input values; the sum in 32 bits. */
VEC_INLINE vec linear_start(enum linear_kind kind, int32_t sum);
VEC_INLINE vec linear_dot(enum linear_kind kind, vec sum, vec weights, vec input);
VEC_INLINE vec linear_finish(enum linear_kind kind, vec sum);

/* Weights as linear_dot() wants those of bytes. */
VEC_INLINE vec linear_bytes(vec weights);

#define LINEAR_STRIP  (16u * VEC_LANES)
#define LINEAR_STRIPS (KERNEL_TILE / LINEAR_STRIP)
#define LINEAR_QUADS  (KERNEL_GROUP / 4)
#define LINEAR_ROWS   KERNEL_BLOCK
#define LINEAR_AHEAD  2048u /* bytes of weights that are asked for before they are needed */

struct linear_sums {
    vec rows[4];
};

struct linear_floats {
    vec_floats rows[4];
};

/* A quad's input for one row is 32 bits. */
struct linear_input {
    int32_t quads[LINEAR_QUADS];
};

/* Which part of a group a call works on. */
struct linear_group {
    const uint8_t *values; /* of the first strip */
    const uint8_t *scales;
    const uint8_t *minima; /* NULL: none */
};

/* Nibbles of two columns lie in one byte, so that a quad has every other of eight columns. */
VEC_INLINE void linear_read_input(enum linear_kind kind, const int8_t *values,
                                  struct linear_input *to)
{
    __m256i all = _mm256_loadu_si256((const __m256i *)(const void *)values);
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    if (kind == LINEAR_NIBBLES)
        all = _mm256_shuffle_epi8(all, order);
    _mm256_storeu_si256((__m256i *)(void *)to->quads, all);
}

/* Four columns of a strip, or four times two, those of a row behind one another. */
VEC_INLINE void linear_transpose(const uint8_t *values, vec rows[4])
{
    vec a = vec_load(values), b = vec_load(values + KERNEL_TILE);
    vec c = vec_load(values + 2 * KERNEL_TILE), d = vec_load(values + 3 * KERNEL_TILE);
    vec low_ab = vec_low8(a, b), high_ab = vec_high8(a, b);
    vec low_cd = vec_low8(c, d), high_cd = vec_high8(c, d);
    rows[0] = vec_low16(low_ab, low_cd);
    rows[1] = vec_high16(low_ab, low_cd);
    rows[2] = vec_low16(high_ab, high_cd);
    rows[3] = vec_high16(high_ab, high_cd);
}

/* Quads 2i and 2i + 1. */
VEC_INLINE void linear_unpack(enum linear_kind kind, const uint8_t *values, size_t i,
                              vec quads[2][4])
{
    if (kind == LINEAR_NIBBLES) {
        vec rows[4];
        linear_transpose(values + i * 4 * KERNEL_TILE, rows);
        for (size_t j = 0; j < 4; j++) {
            quads[0][j] = vec_and(rows[j], vec_set8(15));
            quads[1][j] = vec_high_nibbles(rows[j]);
        }
        return;
    }
    for (size_t q = 0; q < 2; q++) {
        linear_transpose(values + (2 * i + q) * 4 * KERNEL_TILE, quads[q]);
        for (size_t j = 0; j < 4; j++)
            quads[q][j] = linear_bytes(quads[q][j]);
    }
}

/* bf16 of a strip as floats. */
VEC_INLINE struct linear_floats linear_read_bf16(const uint8_t *values)
{
    vec a = vec_load(values), b = vec_load(values + LINEAR_STRIP);
    vec even = vec_even_lanes(a, b), odd = vec_odd_lanes(a, b);
    return (struct linear_floats){
        {vec_as_floats(vec_low16(vec_zero(), even)), vec_as_floats(vec_high16(vec_zero(), even)),
         vec_as_floats(vec_low16(vec_zero(), odd)), vec_as_floats(vec_high16(vec_zero(), odd))}};
}

/* total += sums * scales of a strip in group g of x, and where there are minima += their offset. */
VEC_INLINE void linear_add(enum linear_kind kind, const struct kernel_q8a *x, uint32_t g,
                           const struct linear_sums *sums, const struct linear_floats *scales,
                           const struct linear_floats *minima, struct linear_floats *total)
{
    vec_floats scale = vec_set_float(x->scales[g]);
    for (size_t j = 0; j < 4; j++) {
        vec_floats s = vec_multiply(scale, scales->rows[j]);
        vec_floats sum = vec_to_floats(linear_finish(kind, sums->rows[j]));
        total->rows[j] = vec_multiply_add(sum, s, total->rows[j]);
    }
    if (!minima)
        return;
    vec_floats offset = vec_set_float(x->scales[g] * (float)x->sums[g]);
    for (size_t j = 0; j < 4; j++)
        total->rows[j] = vec_multiply_add(minima->rows[j], offset, total->rows[j]);
}

VEC_INLINE struct linear_sums linear_starts(enum linear_kind kind, int32_t sum)
{
    vec start = linear_start(kind, sum);
    return (struct linear_sums){{start, start, start, start}};
}

/* Asks for the lines that are so many bytes behind those of quads 2i and 2i + 1: a core alone asks
 * too late. Beyond the weight's end that does no harm. */
VEC_INLINE void linear_ask(enum linear_kind kind, const uint8_t *values, size_t i)
{
    size_t lines = kind == LINEAR_NIBBLES ? 4 : 8;
    for (size_t line = 0; line < lines; line++)
        __builtin_prefetch(values + LINEAR_AHEAD + (i * lines + line) * KERNEL_TILE);
}

/* ---- one input row ---- */

VEC_INLINE void linear_one_group(enum linear_kind kind, const struct linear_group *group,
                                 const struct kernel_q8a *x, uint32_t g, size_t strip,
                                 struct linear_floats *total)
{
    struct linear_input input;
    struct linear_sums sums = linear_starts(kind, x->sums[g]);
    linear_read_input(kind, x->values + (size_t)g * KERNEL_GROUP, &input);
    KERNEL_UNROLL(2)
    for (size_t i = 0; i < LINEAR_QUADS / 2; i++) {
        vec quads[2][4];
        if (strip == 0)
            linear_ask(kind, group->values, i);
        linear_unpack(kind, group->values + strip * LINEAR_STRIP, i, quads);
        for (size_t q = 0; q < 2; q++) {
            vec in = vec_set32(input.quads[2 * i + q]);
            for (size_t j = 0; j < 4; j++)
                sums.rows[j] = linear_dot(kind, sums.rows[j], quads[q][j], in);
        }
    }
    size_t at = strip * 2 * LINEAR_STRIP;
    struct linear_floats scales = linear_read_bf16(group->scales + at), minima;
    if (group->minima)
        minima = linear_read_bf16(group->minima + at);
    linear_add(kind, x, g, &sums, &scales, group->minima ? &minima : NULL, total);
}

/* ---- several input rows ---- */

struct linear_unpacked {
    vec quads[LINEAR_QUADS][4];
    struct linear_floats scales, minima;
};

VEC_INLINE void linear_unpack_group(enum linear_kind kind, const struct linear_group *group,
                                    size_t strip, struct linear_unpacked *to)
{
    for (size_t i = 0; i < LINEAR_QUADS / 2; i++) {
        if (strip == 0)
            linear_ask(kind, group->values, i);
        linear_unpack(kind, group->values + strip * LINEAR_STRIP, i, to->quads + 2 * i);
    }
    to->scales = linear_read_bf16(group->scales + strip * 2 * LINEAR_STRIP);
    if (group->minima)
        to->minima = linear_read_bf16(group->minima + strip * 2 * LINEAR_STRIP);
}

/* `count` rows of input, 1 or LINEAR_BLOCK: a constant wherever this is inlined. */
VEC_INLINE void linear_some(enum linear_kind kind, const struct linear_unpacked *w, int minimum,
                            const struct kernel_q8a *x, uint32_t g,
                            const struct linear_input *input, uint32_t count,
                            struct linear_floats *total)
{
    struct linear_sums sums[LINEAR_BLOCK];
    for (size_t t = 0; t < count; t++)
        sums[t] = linear_starts(kind, x[t].sums[g]);
    KERNEL_UNROLL(8)
    for (size_t q = 0; q < LINEAR_QUADS; q++) {
        vec in[LINEAR_BLOCK];
        for (size_t t = 0; t < count; t++)
            in[t] = vec_set32(input[t].quads[q]);
        for (size_t j = 0; j < 4; j++)
            for (size_t t = 0; t < count; t++)
                sums[t].rows[j] = linear_dot(kind, sums[t].rows[j], w->quads[q][j], in[t]);
    }
    for (size_t t = 0; t < count; t++)
        linear_add(kind, x + t, g, sums + t, &w->scales, minimum ? &w->minima : NULL, total + t);
}

VEC_INLINE void linear_block_group(enum linear_kind kind, const struct linear_group *group,
                                   const struct kernel_q8a *x, uint32_t g, uint32_t count,
                                   size_t strip, struct linear_floats *total)
{
    struct linear_unpacked w;
    struct linear_input input[LINEAR_ROWS];
    int minimum = group->minima != NULL;
    linear_unpack_group(kind, group, strip, &w);
    for (size_t t = 0; t < count; t++)
        linear_read_input(kind, x[t].values + (size_t)g * KERNEL_GROUP, input + t);
    size_t t = 0;
    for (; t + LINEAR_BLOCK <= count; t += LINEAR_BLOCK)
        linear_some(kind, &w, minimum, x + t, g, input + t, LINEAR_BLOCK, total + t);
    for (; t + 2 <= count; t += 2)
        linear_some(kind, &w, minimum, x + t, g, input + t, 2, total + t);
    if (t < count)
        linear_some(kind, &w, minimum, x + t, g, input + t, 1, total + t);
}

/* ---- all ---- */

/* Rows [row0, row1) of a strip that begins at row `first`, in their own order. */
VEC_INLINE void linear_store(const struct linear_floats *total, uint32_t first, uint32_t row0,
                             uint32_t row1, float *acc)
{
    float rows[4][VEC_LANES][4];
    for (size_t j = 0; j < 4; j++)
        vec_store_floats(rows[j][0], total->rows[j]);
    for (uint32_t row = first; row < first + LINEAR_STRIP; row += 4) {
        uint32_t at = row - first;
        if (row >= row0 && row < row1)
            __builtin_memcpy(acc + (row - row0), rows[at / 4 % 4][at / 16], sizeof rows[0][0]);
    }
}

/* Strips [strip0, strip1) of a tile; `one` is whether there is one input row. */
VEC_INLINE void linear_strips(enum linear_kind kind, const struct kernel_weight *w,
                              uint32_t value_bytes, int minimum, const struct kernel_q8a *x,
                              uint32_t count, uint32_t row0, size_t strip0, size_t strip1,
                              struct linear_floats total[LINEAR_STRIPS][LINEAR_ROWS], int one)
{
    const uint8_t *record = kernel_tile(w, row0);
    uint32_t groups = w->cols / KERNEL_GROUP;
    for (uint32_t g = 0; g < groups; g++, record += w->record) {
        struct linear_group group = {record, record + value_bytes, NULL};
        if (minimum)
            group.minima = group.scales + 2 * KERNEL_TILE;
        for (size_t s = strip0; s < strip1; s++)
            if (one)
                linear_one_group(kind, &group, x, g, s, total[s]);
            else
                linear_block_group(kind, &group, x, g, count, s, total[s]);
    }
}

/* kernel_linear_q8a for up to LINEAR_ROWS input rows. */
VEC_INLINE void linear_rows(enum linear_kind kind, const struct kernel_weight *w, int minimum,
                            const struct kernel_q8a *x, uint32_t count, uint32_t row0,
                            uint32_t row1, float *acc, uint32_t acc_stride)
{
    uint32_t value_bytes = KERNEL_TILE * KERNEL_GROUP / (kind == LINEAR_NIBBLES ? 2 : 1);
    uint32_t tile = row0 / KERNEL_TILE * KERNEL_TILE;
    size_t strip0 = (row0 - tile) / LINEAR_STRIP;
    size_t strip1 = (row1 - tile + LINEAR_STRIP - 1) / LINEAR_STRIP;
    struct linear_floats total[LINEAR_STRIPS][LINEAR_ROWS];
    for (size_t s = strip0; s < strip1; s++)
        for (size_t t = 0; t < count; t++)
            for (size_t j = 0; j < 4; j++)
                total[s][t].rows[j] = vec_zero_floats();
    if (count == 1 && strip1 - strip0 == LINEAR_STRIPS)
        linear_strips(kind, w, value_bytes, minimum, x, 1, row0, 0, LINEAR_STRIPS, total, 1);
    else if (count == 1)
        linear_strips(kind, w, value_bytes, minimum, x, 1, row0, strip0, strip1, total, 1);
    else
        linear_strips(kind, w, value_bytes, minimum, x, count, row0, strip0, strip1, total, 0);
    for (size_t s = strip0; s < strip1; s++)
        for (size_t t = 0; t < count; t++)
            linear_store(&total[s][t], tile + (uint32_t)s * LINEAR_STRIP, row0, row1,
                         acc + t * acc_stride);
}

VEC_INLINE void linear_all(enum linear_kind kind, const struct kernel_weight *w, int minimum,
                           const struct kernel_q8a *x, uint32_t count, uint32_t row0, uint32_t row1,
                           float *acc, uint32_t acc_stride)
{
    for (uint32_t t = 0; t < count; t += LINEAR_ROWS) {
        uint32_t some = count - t < LINEAR_ROWS ? count - t : LINEAR_ROWS;
        linear_rows(kind, w, minimum, x + t, some, row0, row1, acc + (size_t)t * acc_stride,
                    acc_stride);
    }
}

/* The function of a format, of kernel_linear_q8a. */
#define LINEAR_VERSION(name, kind, minimum)                                                        \
    void name(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,           \
              uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)                       \
    {                                                                                              \
        linear_all(kind, w, minimum, x, count, row0, row1, acc, acc_stride);                       \
    }

#endif
