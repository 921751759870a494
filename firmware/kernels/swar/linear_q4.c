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

/* Eight factors from a row's 32 nibbles: four lanes each, but for the first of a word, which is the
 * word. */
INLINE void unpack(uint64_t *lanes, const uint8_t *row, uint64_t mask)
{
    for (uint32_t w = 0; w < 2; w++) {
        uint64_t v = kernel_load_u64(row + 8 * w);
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

/* Two neighbouring bf16 as floats, from one load. */
INLINE void load_bf16_pair(float *to, const uint8_t *p)
{
    uint32_t both;
    __builtin_memcpy(&both, __builtin_assume_aligned(p, 4), sizeof both);
    to[0] = kernel_bf16((uint16_t)both);
    to[1] = kernel_bf16((uint16_t)(both >> 16));
}

/* One input row: its lanes stay in registers over all weight rows. */
INLINE void group_single(const uint8_t *values, const uint8_t *scales, size_t rows,
                         const struct packed *x, float *acc, int minimum)
{
    const struct packed in = *x;
    uint64_t mask = MASK;
    KERNEL_KEEP(mask);
    float *end = acc + rows, s[2], m[2] = {0};
    KERNEL_UNROLL(1)
    for (; acc != end; acc += 4, values += 64, scales += 8)
        for (uint32_t i = 0; i < 4; i++) {
            uint64_t weights[8];
            if (i % 2 == 0)
                load_bf16_pair(s, scales + 2 * i);
            if (minimum && i % 2 == 0)
                load_bf16_pair(m, scales + 2 * KERNEL_TILE + 2 * i);
            unpack(weights, values + 16 * i, mask);
            acc[i] =
                finish(acc[i], dot(weights, in.lanes, in.start), s[i % 2], m[i % 2], &in, minimum);
        }
}

#if defined(__riscv)

_Static_assert(sizeof(struct packed) == 80, "offsets in ROWS");
_Static_assert(offsetof(struct packed, start) == 64, "offsets in ROWS");
_Static_assert(offsetof(struct packed, scale) == 72, "offsets in ROWS");
_Static_assert(offsetof(struct packed, offset) == 76, "offsets in ROWS");

/* The other factors of a word. */
#define UNPACK(word, a, b, c)                                                                      \
    "srli %[" a "], %[" word "], 4\n"                                                              \
    "srli %[" b "], %[" word "], 8\n"                                                              \
    "srli %[" c "], %[" word "], 12\n"                                                             \
    "and %[" a "], %[" a "], t0\n"                                                                 \
    "and %[" b "], %[" b "], t0\n"                                                                 \
    "and %[" c "], %[" c "], t0\n"

/* One multiplication for each of the two weight rows; meanwhile the products before are added and
 * the lanes after are loaded. */
#define STEP(x, product, u, v, before_x, before, NEXT)                                             \
    "mul " product ", " x ", %[" u "]\n"                                                           \
    "add t0, t0, " before "\n"                                                                     \
    "mul " x ", " x ", %[" v "]\n"                                                                 \
    "add t1, t1, " before_x "\n" NEXT
#define STEP_EVEN(u, v, next) STEP("t2", "t3", u, v, "t4", "t5", "ld t4, " next "(%[in])\n")
#define STEP_ODD(u, v, next)  STEP("t4", "t5", u, v, "t2", "t3", "ld t2, " next "(%[in])\n")

/* All input rows against two weight rows whose factors u and v stay in registers: more than
 * compilers manage. No integer register is left over, so the mask comes from a float one and the
 * weights' address is where the last factor will be. t0, t1: sums. */
#define ROWS(MINIMUM)                                                                              \
    "ld %[u0], 0(%[v7])\n"                                                                         \
    "ld %[u4], 8(%[v7])\n"                                                                         \
    "ld %[v0], 16(%[v7])\n"                                                                        \
    "ld %[v4], 24(%[v7])\n"                                                                        \
    "fmv.x.d t0, %[mask]\n" UNPACK("u0", "u1", "u2", "u3") UNPACK("u4", "u5", "u6", "u7")          \
        UNPACK("v0", "v1", "v2", "v3")                                                             \
            UNPACK("v4", "v5", "v6",                                                               \
                   "v7") "1:\n"                                                                    \
                         "ld t2, 0(%[in])\n"                                                       \
                         "ld t0, 64(%[in])\n"                                                      \
                         "ld t4, 8(%[in])\n"                                                       \
                         "mul t3, t2, %[u0]\n"                                                     \
                         "mul t2, t2, %[v0]\n"                                                     \
                         "flw ft0, 72(%[in])\n"                                                    \
                         "mul t5, t4, %[u1]\n"                                                     \
                         "mul t4, t4, %[v1]\n"                                                     \
                         "flw ft1, 0(%[out])\n"                                                    \
                         "add t1, t0, t2\n"                                                        \
                         "ld t2, 16(%[in])\n"                                                      \
                         "add t0, t0, t3\n"                                                        \
                         "flw ft2, 4(%[out])\n" STEP_EVEN("u2", "v2", "24")                        \
                             STEP_ODD("u3", "v3", "32") STEP_EVEN("u4", "v4", "40")                \
                                 STEP_ODD("u5", "v5", "48") STEP_EVEN("u6", "v6", "56")            \
                                     STEP("t4", "t5", "u7", "v7", "t2", "t3",                      \
                                          "") "fmul.s ft3, ft0, %[s0]\n"                           \
                                              "fmul.s ft4, ft0, %[s1]\n"                           \
                                              "add t0, t0, t5\n"                                   \
                                              "add t1, t1, t4\n"                                   \
                                              "srai t0, t0, 48\n"                                  \
                                              "srai t1, t1, 48\n"                                  \
                                              "fcvt.s.w ft5, t0\n"                                 \
                                              "fcvt.s.w ft6, t1\n"                                 \
                                              "fmadd.s ft1, ft5, ft3, ft1\n"                       \
                                              "fmadd.s ft2, ft6, ft4, ft2\n" MINIMUM /**/          \
                                              "addi %[in], %[in], 80\n"                            \
                                              "fsw ft1, 0(%[out])\n"                               \
                                              "fsw ft2, 4(%[out])\n"                               \
                                              "add %[out], %[out], %[stride]\n"                    \
                                              "bne %[in], %[end], 1b\n"

#define ADD_MINIMUM                                                                                \
    "flw ft0, 76(%[in])\n"                                                                         \
    "fmadd.s ft1, %[m0], ft0, ft1\n"                                                               \
    "fmadd.s ft2, %[m1], ft0, ft2\n"

#define RUN_ROWS(MINIMUM)                                                                          \
    __asm__ volatile(ROWS(MINIMUM)                                                                 \
                     : [in] "+&r"(in), [out] "+&r"(out), [u0] "=&r"(u[0]), [u1] "=&r"(u[1]),       \
                       [u2] "=&r"(u[2]), [u3] "=&r"(u[3]), [u4] "=&r"(u[4]), [u5] "=&r"(u[5]),     \
                       [u6] "=&r"(u[6]), [u7] "=&r"(u[7]), [v0] "=&r"(v[0]), [v1] "=&r"(v[1]),     \
                       [v2] "=&r"(v[2]), [v3] "=&r"(v[3]), [v4] "=&r"(v[4]), [v5] "=&r"(v[5]),     \
                       [v6] "=&r"(v[6]), [v7] "+&r"(values)                                        \
                     : [s0] "f"(s[0]), [s1] "f"(s[1]), [m0] "f"(m[0]), [m1] "f"(m[1]),             \
                       [mask] "f"(mask), [end] "r"(end), [stride] "r"(stride)                      \
                     : "memory", "t0", "t1", "t2", "t3", "t4", "t5", "ft0", "ft1", "ft2", "ft3",   \
                       "ft4", "ft5", "ft6")

/* All input rows against two weight rows, whose scales and minima are s and m. */
INLINE void rows_block(const uint8_t *values, const float *s, const float *m,
                       const struct packed *in, const struct packed *end, float *out,
                       size_t acc_stride, int minimum)
{
    const union {
        uint64_t bits;
        double value;
    } held = {.bits = MASK};
    double mask = held.value;
    size_t stride = acc_stride * sizeof(float);
    uint64_t u[8], v[7];
    if (minimum)
        RUN_ROWS(ADD_MINIMUM);
    else
        RUN_ROWS("");
}

#else

INLINE void rows_block(const uint8_t *values, const float *s, const float *m,
                       const struct packed *in, const struct packed *end, float *out,
                       size_t acc_stride, int minimum)
{
    uint64_t u[8], v[8];
    unpack(u, values, MASK);
    unpack(v, values + 16, MASK);
    for (; in != end; in++, out += acc_stride) {
        out[0] = finish(out[0], dot(u, in->lanes, in->start), s[0], m[0], in, minimum);
        out[1] = finish(out[1], dot(v, in->lanes, in->start), s[1], m[1], in, minimum);
    }
}

#endif

/* Several input rows: two weight rows are unpacked once for them. */
INLINE void group_block(const uint8_t *values, const uint8_t *scales, size_t rows,
                        const struct packed *x, size_t count, float *acc, size_t acc_stride,
                        int minimum)
{
    for (float *end = acc + rows; acc != end; acc += 2, values += 32, scales += 4) {
        float s[2], m[2] = {0};
        load_bf16_pair(s, scales);
        if (minimum)
            load_bf16_pair(m, scales + 2 * KERNEL_TILE);
        rows_block(values, s, m, x, x + count, acc, acc_stride, minimum);
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

INLINE void run(const struct swar_rows *rows, const uint8_t *block, uint32_t count, uint32_t groups,
                float *acc, size_t acc_stride, int minimum)
{
    const struct packed *in = (const struct packed *)(const void *)block;
    const uint8_t *values = rows->values, *scales = rows->scales;
    for (; groups; groups--, values += rows->record, scales += rows->record, in += count)
        if (count == 1)
            group_single(values, scales, rows->count, in, acc, minimum);
        else
            group_block(values, scales, rows->count, in, count, acc, acc_stride, minimum);
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

static void linear_q4(const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                      uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear_packed(run_q4, ROW_BYTES, w, block, count, row0, row1, acc, acc_stride);
}

static void linear_q4m(const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                       uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    swar_linear_packed(run_q4m, ROW_BYTES, w, block, count, row0, row1, acc, acc_stride);
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
