/* SPDX-License-Identifier: Apache-2.0 */

/* Q8 weights in layout SWAR: three columns of a row in one multiply.
 *
 * A weight is stored as u = q + 128. Every third byte of a word, spread at bytes 1, 4 and 7, times
 * the activations v = x + 128 at the mirrored places gives their dot product in the low 24 bits of
 * the high half (mulhu): all numbers are unsigned, so nothing borrows from below, and 32 products
 * stay under 2^21. Three multiplies cover a word's 3 + 3 + 2 bytes. With the stored sum of q the
 * offsets go: sum q x = sum u v - 128 (sum q + sum x) - 32 * 128 * 128, modulo 2^24.
 */

#include "kernels/swar/linear.h"

#define MASK_THREE 0xFF0000FF0000FF00ull /* bytes 1, 4 and 7 */
#define MASK_TWO   0x0000FF0000FF0000ull /* bytes 2 and 5 */
#define BIAS       (32 * 128 * 128)

#define ROW_BYTES 32u /* of values in a group */

#define INLINE static inline __attribute__((always_inline))

/* The activations of one group and row. */
struct packed {
    uint64_t lanes[12];
    uint64_t start; /* what a sum begins with: the biases, the weights' sum apart */
    float scale;
};

INLINE uint64_t multiply_high(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

/* Byte `from` of v moved to byte `to`. */
INLINE uint64_t move_byte(uint64_t v, unsigned from, unsigned to)
{
    uint64_t moved = from < to ? v << (8 * (to - from)) : v >> (8 * (from - to));
    return moved & (0xFFull << (8 * to));
}

INLINE void pack(struct packed *to, const struct kernel_q8a *x, uint32_t g)
{
    KERNEL_UNROLL(1)
    for (uint32_t w = 0; w < 4; w++) {
        /* 128 more in every byte. */
        uint64_t v = kernel_load_u64(x->values + g * KERNEL_GROUP + 8 * w) ^ 0x8080808080808080ull;
        uint64_t *lanes = to->lanes + 3 * w;
        lanes[0] = move_byte(v, 0, 7) | move_byte(v, 3, 4) | move_byte(v, 6, 1);
        lanes[1] = move_byte(v, 1, 7) | move_byte(v, 4, 4) | move_byte(v, 7, 1);
        lanes[2] = move_byte(v, 2, 6) | move_byte(v, 5, 3);
    }
    to->start = (uint64_t)(int64_t)(-128 * x->sums[g] - BIAS);
    to->scale = x->scales[g];
}

/* Twelve words of three bytes, the last of each three of two, from a row's 32 bytes. */
INLINE void unpack(uint64_t *lanes, const uint8_t *row, uint64_t three, uint64_t two)
{
    for (uint32_t w = 0; w < 4; w++) {
        uint64_t v = kernel_load_u64(row + 8 * w);
        lanes[3 * w] = (v << 8) & three;
        lanes[3 * w + 1] = v & three;
        lanes[3 * w + 2] = v & two;
    }
}

/* `row_sum` is 128 times the sum of the row's q. */
INLINE int32_t dot(const uint64_t *weights, const uint64_t *lanes, uint64_t start, int32_t row_sum)
{
    uint64_t even = start, odd = 0;
    for (uint32_t i = 0; i < 12; i += 2) {
        even += multiply_high(weights[i], lanes[i]);
        odd += multiply_high(weights[i + 1], lanes[i + 1]);
    }
    return (int32_t)((int64_t)((even + odd) << 40) >> 40) - row_sum;
}

/* 128 times the stored sum of a row's q; it lies behind the scale. */
INLINE int32_t load_sum(const uint8_t *scale)
{
    int16_t v;
    __builtin_memcpy(&v, __builtin_assume_aligned(scale + 2 * KERNEL_TILE, 2), sizeof v);
    return 128 * v;
}

#if defined(__riscv)

/* The products of a word at `a` with three activation words; b and c are free. */
#define WORD(a, b, c, x0, x1, x2)                                                                  \
    "slli " b ", " a ", 8\n"                                                                       \
    "and " c ", " a ", %[three]\n"                                                                 \
    "and " a ", " a ", %[two]\n"                                                                   \
    "and " b ", " b ", %[three]\n"                                                                 \
    "mulhu " c ", " c ", %[" x1 "]\n"                                                              \
    "mulhu " a ", " a ", %[" x2 "]\n"                                                              \
    "mulhu " b ", " b ", %[" x0 "]\n"

#define SUM(from, a, b, c)                                                                         \
    "add t6, " from ", " c "\n"                                                                    \
    "add t6, t6, " a "\n"                                                                          \
    "add t6, t6, " b "\n"

#define LOAD(to, at, word) "ld " to ", 32 * " at " + 8 * " word "(%[values])\n"

/* Two words on the way at a time; t6 is their sum. */
#define ROW(i)                                                                                     \
    LOAD("t0", i, "0")                                                                             \
    LOAD("t3", i, "1")                                                                             \
    WORD("t0", "t1", "t2", "x0", "x1", "x2")                                                       \
    WORD("t3", "t4", "t5", "x3", "x4", "x5")                                                       \
    SUM("%[start]", "t0", "t1", "t2")                                                              \
    LOAD("t0", i, "2")                                                                             \
    SUM("t6", "t3", "t4", "t5")                                                                    \
    LOAD("t3", i, "3")                                                                             \
    WORD("t0", "t1", "t2", "x6", "x7", "x8")                                                       \
    WORD("t3", "t4", "t5", "x9", "x10", "x11")                                                     \
    SUM("t6", "t0", "t1", "t2")                                                                    \
    "lh t0, 128 + 2 * " i "(%[scales])\n"                                                          \
    "lh t1, 2 * " i "(%[scales])\n"                                                                \
    "flw ft0, 4 * " i "(%[acc])\n" SUM("t6", "t3", "t4", "t5") /**/                                \
        "slli t0, t0, 7\n"                                                                         \
        "slli t1, t1, 16\n"                                                                        \
        "fmv.w.x ft2, t1\n"                                                                        \
        "sub t6, t6, t0\n"                                                                         \
        "fmul.s ft2, ft2, %[scale]\n"                                                              \
        "slli t6, t6, 40\n"                                                                        \
        "srai t6, t6, 40\n"                                                                        \
        "fcvt.s.w ft1, t6\n"                                                                       \
        "fmadd.s ft0, ft1, ft2, ft0\n"                                                             \
        "fsw ft0, 4 * " i "(%[acc])\n"

/* One input row: its lanes stay in registers over all weight rows, which compilers do not manage.
 */
INLINE void group_single(const uint8_t *values, const uint8_t *scales, size_t rows,
                         const struct packed *x, float *acc)
{
    const uint64_t *lanes = x->lanes; /* where the last one will be */
    uint64_t l[11];
    __asm__ volatile("ld %[x0], 0(%[x11])\n"
                     "ld %[x1], 8(%[x11])\n"
                     "ld %[x2], 16(%[x11])\n"
                     "ld %[x3], 24(%[x11])\n"
                     "ld %[x4], 32(%[x11])\n"
                     "ld %[x5], 40(%[x11])\n"
                     "ld %[x6], 48(%[x11])\n"
                     "ld %[x7], 56(%[x11])\n"
                     "ld %[x8], 64(%[x11])\n"
                     "ld %[x9], 72(%[x11])\n"
                     "ld %[x10], 80(%[x11])\n"
                     "ld %[x11], 88(%[x11])\n"
                     "1:\n" ROW("0") ROW("1") ROW("2") ROW("3") /**/
                     "addi %[acc], %[acc], 16\n"
                     "addi %[scales], %[scales], 8\n"
                     "addi %[values], %[values], 128\n"
                     "bne %[acc], %[end], 1b\n"
                     : [values] "+&r"(values), [scales] "+&r"(scales), [acc] "+&r"(acc),
                       [x0] "=&r"(l[0]), [x1] "=&r"(l[1]), [x2] "=&r"(l[2]), [x3] "=&r"(l[3]),
                       [x4] "=&r"(l[4]), [x5] "=&r"(l[5]), [x6] "=&r"(l[6]), [x7] "=&r"(l[7]),
                       [x8] "=&r"(l[8]), [x9] "=&r"(l[9]), [x10] "=&r"(l[10]), [x11] "+&r"(lanes)
                     : [three] "r"(MASK_THREE), [two] "r"(MASK_TWO), [start] "r"(x->start),
                       [end] "r"(acc + rows), [scale] "f"(x->scale)
                     : "memory", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "ft0", "ft1", "ft2");
}

#else

INLINE void group_single(const uint8_t *values, const uint8_t *scales, size_t rows,
                         const struct packed *x, float *acc)
{
    for (size_t i = 0; i < rows; i++) {
        uint64_t weights[12];
        unpack(weights, values + 32 * i, MASK_THREE, MASK_TWO);
        int32_t sum = dot(weights, x->lanes, x->start, load_sum(scales + 2 * i));
        acc[i] = __builtin_fmaf((float)sum, x->scale * kernel_load_bf16(scales, i), acc[i]);
    }
}

#endif

/* Several input rows: a weight row is unpacked once and stays in registers. */
INLINE void group_block(const uint8_t *values, const uint8_t *scales, size_t rows,
                        const struct packed *x, size_t count, float *acc, size_t acc_stride)
{
    uint64_t three = MASK_THREE, two = MASK_TWO;
    KERNEL_KEEP(three);
    KERNEL_KEEP(two);
    const struct packed *x_end = x + count;
    for (float *end = acc + rows; acc != end; acc++, values += 32, scales += 2) {
        uint64_t weights[12];
        unpack(weights, values, three, two);
        for (uint32_t i = 0; i < 12; i++)
            KERNEL_KEEP(weights[i]);
        float s = kernel_load_bf16(scales, 0);
        int32_t row_sum = load_sum(scales);
        float *out = acc;
        KERNEL_UNROLL(1)
        for (const struct packed *in = x; in != x_end; in++, out += acc_stride) {
            int32_t sum = dot(weights, in->lanes, in->start, row_sum);
            *out = __builtin_fmaf((float)sum, in->scale * s, *out);
        }
    }
}

static void pack_block(const struct kernel_q8a *x, uint32_t count, uint32_t group0, uint32_t group1,
                       uint8_t *to)
{
    struct packed *record = (struct packed *)(void *)to;
    for (uint32_t g = group0; g < group1; g++)
        for (uint32_t t = 0; t < count; t++)
            pack(record++, &x[t], g);
}

static void run(const struct swar_rows *rows, const uint8_t *block, uint32_t count, uint32_t groups,
                float *acc, size_t acc_stride)
{
    const struct packed *in = (const struct packed *)(const void *)block;
    const uint8_t *values = rows->values, *scales = rows->scales;
    for (; groups; groups--, values += rows->record, scales += rows->record, in += count)
        if (count == 1)
            group_single(values, scales, rows->count, in, acc);
        else
            group_block(values, scales, rows->count, in, count, acc, acc_stride);
}

static void linear(const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear_packed(run, ROW_BYTES, &swar_packed_q8, w, block, count, row0, row1, acc,
                       acc_stride);
}

const struct kernel_packed swar_packed_q8 = {sizeof(struct packed), pack_block, linear};

void swar_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear(run, ROW_BYTES, &swar_packed_q8, w, x, count, row0, row1, acc, acc_stride);
}
