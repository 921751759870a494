/* SPDX-License-Identifier: Apache-2.0 */

/* Q4 and Q4M weights: a byte holds a row's columns 2p and 2p + 1.
 *
 * The 16-bit sum of a group starts at -8 times the sum of the activations and wraps: nibbles stay
 * unsigned, and the true sum is at most 32512 in magnitude.
 */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include "kernels/rvv/registers.h"

#define VALUES (KERNEL_GROUP / 2 * KERNEL_TILE)

/* The assembly knows where the pointers of a row of activations lie. */
_Static_assert(sizeof(struct kernel_q8a) == 24, "offsets in START and LOAD_SCALE");
_Static_assert(offsetof(struct kernel_q8a, scales) == 8, "offsets in LOAD_SCALE");
_Static_assert(offsetof(struct kernel_q8a, sums) == 16, "offsets in START and LOAD_SCALE");

/* Sixteen pairs of columns: bytes in b0 to b3, low nibbles in n0 to n3. The registers of the pair
 * four ahead are loaded as soon as they are free. */
/* clang-format off */
#define SIXTEEN(PAIR, b0, b1, b2, b3, n0, n1, n2, n3) \
    RVV_LOAD(b0) RVV_LOAD(b1) RVV_LOAD(b2) RVV_LOAD(b3) \
    PAIR(b0, n0, "0", "1", RVV_LOAD) \
    PAIR(b1, n1, "2", "3", RVV_LOAD) \
    PAIR(b2, n2, "4", "5", RVV_LOAD) \
    PAIR(b3, n3, "6", "7", RVV_LOAD) \
    PAIR(b0, n0, "8", "9", RVV_LOAD) \
    PAIR(b1, n1, "10", "11", RVV_LOAD) \
    PAIR(b2, n2, "12", "13", RVV_LOAD) \
    PAIR(b3, n3, "14", "15", RVV_LOAD) \
    PAIR(b0, n0, "16", "17", RVV_LOAD) \
    PAIR(b1, n1, "18", "19", RVV_LOAD) \
    PAIR(b2, n2, "20", "21", RVV_LOAD) \
    PAIR(b3, n3, "22", "23", RVV_LOAD) \
    PAIR(b0, n0, "24", "25", NOTHING) \
    PAIR(b1, n1, "26", "27", NOTHING) \
    PAIR(b2, n2, "28", "29", NOTHING) \
    PAIR(b3, n3, "30", "31", NOTHING)
/* clang-format on */

#define NOTHING(v)

#define EACH_PAIR(PAIR, ...) SIXTEEN(PAIR, __VA_ARGS__)
#define BYTES_SINGLE         "v16", "v18", "v20", "v22", "v24", "v26", "v28", "v30"
#define BYTES_FOUR           "v0", "v2", "v4", "v6", "v8", "v10", "v12", "v14"

/* ---- one input row ---- */

/* Two sums, v8 and v12, so that one multiplication need not wait for the other. */
#define PAIR_SINGLE(byte, low, a, b, NEXT)                                                         \
    "vand.vi " low ", " byte ", 15\n"                                                              \
    "vsrl.vi " byte ", " byte ", 4\n"                                                              \
    "lb t0, " a "(%[q])\n"                                                                         \
    "lb t1, " b "(%[q])\n"                                                                         \
    "vwmaccsu.vx v8, t0, " low "\n"                                                                \
    "vwmaccsu.vx v12, t1, " byte "\n" NEXT(byte)

/* v0 += minimum times (scale times sum of the activations); t2 is the sum, ft0 the scale. */
#define MINIMUM_SINGLE                                                                             \
    "fcvt.s.w ft1, t2\n"                                                                           \
    "fmul.s ft1, ft0, ft1\n"                                                                       \
    "addi t0, %[scales], 128\n"                                                                    \
    "vle16.v v20, (t0)\n"                                                                          \
    "vzext.vf2 v16, v20\n"                                                                         \
    "vsll.vi v16, v16, 16\n"                                                                       \
    "vfmacc.vf v0, ft1, v16\n"

/* v0: accumulators. */
#define GROUPS_SINGLE(MINIMUM)                                                                     \
    "vsetvli zero, %[vl], e32, m8, ta, ma\n"                                                       \
    "vmv.v.i v0, 0\n"                                                                              \
    "1:\n"                                                                                         \
    "lw t2, (%[sum])\n"                                                                            \
    "vsetvli zero, %[vl], e16, m4, ta, ma\n"                                                       \
    "slli t0, t2, 3\n"                                                                             \
    "neg t0, t0\n"                                                                                 \
    "vmv.v.x v8, t0\n"                                                                             \
    "vmv.v.i v12, 0\n"                                                                             \
    "vsetvli zero, %[vl], e8, m2, ta, ma\n" EACH_PAIR(PAIR_SINGLE, BYTES_SINGLE) /**/              \
        "flw ft0, (%[scale])\n"                                                                    \
        "vle16.v v20, (%[scales])\n"                                                               \
        "vsetvli zero, %[vl], e16, m4, ta, ma\n"                                                   \
        "vadd.vv v8, v8, v12\n"                                                                    \
        "vfwcvt.f.x.v v24, v8\n"                                                                   \
        "vsetvli zero, %[vl], e32, m8, ta, ma\n"                                                   \
        "vzext.vf2 v16, v20\n"                                                                     \
        "vsll.vi v16, v16, 16\n"                                                                   \
        "vfmul.vf v16, v16, ft0\n"                                                                 \
        "vfmacc.vv v0, v16, v24\n" MINIMUM /**/                                                    \
        "add %[values], %[values], %[skip]\n"                                                      \
        "add %[scales], %[scales], %[record]\n"                                                    \
        "addi %[q], %[q], 32\n"                                                                    \
        "addi %[scale], %[scale], 4\n"                                                             \
        "addi %[sum], %[sum], 4\n"                                                                 \
        "addi %[groups], %[groups], -1\n"                                                          \
        "bnez %[groups], 1b\n"                                                                     \
        "vse32.v v0, (%[out])\n"

#define RUN_SINGLE(MINIMUM)                                                                        \
    __asm__ volatile(GROUPS_SINGLE(MINIMUM)                                                        \
                     : [values] "+r"(values), [scales] "+r"(scales), [q] "+r"(q),                  \
                       [scale] "+r"(scale), [sum] "+r"(sum), [groups] "+r"(groups)                 \
                     : [vl] "r"(vl), [skip] "r"(rows.record - VALUES), [record] "r"(rows.record),  \
                       [out] "r"(out)                                                              \
                     : RVV_CLOBBERS, "t0", "t1", "t2", "ft0", "ft1")

RVV_OUT_OF_LINE void linear_single(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   uint32_t row0, uint32_t row1, float *out, int minimum)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    for (size_t vl; rows.count; rows.count -= vl, out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q = x->values;
        const float *scale = x->scales;
        const int32_t *sum = x->sums;
        size_t groups = rows.groups;
        vl = rvv_strip(rows.count);
        if (minimum)
            RUN_SINGLE(MINIMUM_SINGLE);
        else
            RUN_SINGLE("");
        rows.values += vl;
        rows.scales += 2 * vl;
    }
}

/* ---- four input rows ---- */

/* t = where group `at` of an array of row `row` lies; `field` is the offset of its pointer. */
#define LOCATE(t, field)                                                                           \
    "ld " t ", " field "(%[x])\n"                                                                  \
    "add " t ", " t ", %[at]\n"

#define START(sum, field)                                                                          \
    LOCATE("t0", field)                                                                            \
    "lw t0, (t0)\n"                                                                                \
    "slli t0, t0, 3\n"                                                                             \
    "neg t0, t0\n"                                                                                 \
    "vmv.v.x " sum ", t0\n"

#define MULTIPLY_FOUR(a, nibbles)                                                                  \
    "lb t0, " a "(%[q0])\n"                                                                        \
    "lb t1, " a "(%[q1])\n"                                                                        \
    "lb t2, " a "(%[q2])\n"                                                                        \
    "lb t3, " a "(%[q3])\n"                                                                        \
    "vwmaccsu.vx v16, t0, " nibbles "\n"                                                           \
    "vwmaccsu.vx v20, t1, " nibbles "\n"                                                           \
    "vwmaccsu.vx v24, t2, " nibbles "\n"                                                           \
    "vwmaccsu.vx v28, t3, " nibbles "\n"

#define PAIR_FOUR(byte, low, a, b, NEXT)                                                           \
    "vand.vi " low ", " byte ", 15\n"                                                              \
    "vsrl.vi " byte ", " byte ", 4\n" MULTIPLY_FOUR(a, low) MULTIPLY_FOUR(b, byte) NEXT(byte)

/* ft0 = the group's scale of a row, t1 = its sum. */
#define LOAD_SCALE(scales, sums)                                                                   \
    LOCATE("t1", sums)                                                                             \
    "lw t1, (t1)\n" LOCATE("t0", scales) "flw ft0, (t0)\n"

/* high part of `to` = 16-bit scales or minima at `from`; then all of `to` as floats. */
#define LOAD_BF16(to, high, from)                                                                  \
    "vle16.v " high ", (" from ")\n"                                                               \
    "vzext.vf2 " to ", " high "\n"                                                                 \
    "vsll.vi " to ", " to ", 16\n"

/* acc += minima at t0 times scale times sum of the activations. */
#define OFFSET                                                                                     \
    "fcvt.s.w ft1, t1\n"                                                                           \
    "fmul.s ft1, ft0, ft1\n"                                                                       \
    "addi t0, %[scales], 128\n"
#define MINIMUM(acc, m, high) LOAD_BF16(m, high, "t0") "vfmacc.vf " acc ", ft1, " m "\n"
#define WITHOUT(acc, m, high)

/* A group's end for one input row: its accumulators are in memory, at t5, for registers hold the
 * sums. The first row has 20 registers free, so it goes through them in two halves. */
#define FINISH_FIRST(scales, sums, OFFSET, MINIMUM)                                                \
    LOAD_SCALE(scales, sums)                                                                       \
    OFFSET "vsetvli zero, %[vl], e16, m4, ta, ma\n"                                                \
           "vfwcvt.f.x.v v0, v16\n"                                                                \
           "vsetvli zero, %[vl], e32, m8, ta, ma\n" LOAD_BF16(                                     \
               "v8", "v12", "%[scales]") "vfmul.vf v8, v8, ft0\n"                                  \
                                         "vsetvli zero, %[half], e32, m4, ta, ma\n"                \
                                         "vle32.v v16, (t5)\n"                                     \
                                         "vfmacc.vv v16, v8, v0\n" MINIMUM(                        \
                                             "v16", "v8",                                          \
                                             "v10") "vse32.v v16, (t5)\n"                          \
                                                    "slli t6, %[half], 1\n"                        \
                                                    "add t0, t0, t6\n"                             \
                                                    "slli t6, t6, 1\n"                             \
                                                    "add t6, t6, t5\n"                             \
                                                    "vsetvli zero, %[rest], e32, m4, ta, ma\n"     \
                                                    "vle32.v v16, (t6)\n"                          \
                                                    "vfmacc.vv v16, v12, v4\n" MINIMUM(            \
                                                        "v16", "v12", "v14") "vse32.v v16, (t6)\n"

#define FINISH(sum, scales, sums, OFFSET, MINIMUM)                                                 \
    LOAD_SCALE(scales, sums)                                                                       \
    OFFSET "add t5, t5, %[stride]\n"                                                               \
           "vsetvli zero, %[vl], e16, m4, ta, ma\n"                                                \
           "vle32.v v8, (t5)\n"                                                                    \
           "vfwcvt.f.x.v v16, " sum "\n"                                                           \
           "vsetvli zero, %[vl], e32, m8, ta, ma\n" LOAD_BF16(                                     \
               "v0", "v4", "%[scales]") "vfmul.vf v0, v0, ft0\n"                                   \
                                        "vfmacc.vv v8, v0, v16\n" MINIMUM(                         \
                                            "v8", "v0", "v4") "vse32.v v8, (t5)\n"

#define GROUPS_FOUR(OFFSET, MINIMUM)                                                               \
    "vsetvli zero, %[vl], e32, m8, ta, ma\n"                                                       \
    "vmv.v.i v0, 0\n"                                                                              \
    "mv t5, %[out]\n"                                                                              \
    "vse32.v v0, (t5)\n"                                                                           \
    "add t5, t5, %[stride]\n"                                                                      \
    "vse32.v v0, (t5)\n"                                                                           \
    "add t5, t5, %[stride]\n"                                                                      \
    "vse32.v v0, (t5)\n"                                                                           \
    "add t5, t5, %[stride]\n"                                                                      \
    "vse32.v v0, (t5)\n"                                                                           \
    "1:\n"                                                                                         \
    "vsetvli zero, %[vl], e16, m4, ta, ma\n" START("v16", "16") START("v20", "40")                 \
        START("v24", "64") START("v28", "88") "vsetvli zero, %[vl], e8, m2, ta, ma\n" EACH_PAIR(   \
            PAIR_FOUR, BYTES_FOUR) "mv t5, %[out]\n" FINISH_FIRST("8", "16", OFFSET, MINIMUM)      \
            FINISH("v20", "32", "40", OFFSET, MINIMUM) FINISH("v24", "56", "64", OFFSET, MINIMUM)  \
                FINISH("v28", "80", "88", OFFSET, MINIMUM) "add %[values], %[values], %[skip]\n"   \
                                                           "add %[scales], %[scales], %[record]\n" \
                                                           "addi %[q0], %[q0], 32\n"               \
                                                           "addi %[q1], %[q1], 32\n"               \
                                                           "addi %[q2], %[q2], 32\n"               \
                                                           "addi %[q3], %[q3], 32\n"               \
                                                           "addi %[at], %[at], 4\n"                \
                                                           "bne %[at], %[end], 1b\n"

#define RUN_FOUR(OFFSET, MINIMUM)                                                                  \
    __asm__ volatile(                                                                              \
        GROUPS_FOUR(OFFSET, MINIMUM)                                                               \
        : [values] "+r"(values), [scales] "+r"(scales), [q0] "+r"(q0), [q1] "+r"(q1),              \
          [q2] "+r"(q2), [q3] "+r"(q3), [at] "+r"(at)                                              \
        : [x] "r"(x), [vl] "r"(vl), [half] "r"(half), [rest] "r"(vl - half),                       \
          [skip] "r"(rows.record - VALUES), [record] "r"(rows.record), [out] "r"(out),             \
          [stride] "r"(sizeof(float) * stride), [end] "r"(sizeof(float) * rows.groups)             \
        : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "t5", "t6", "ft0", "ft1")

/* Each weight is loaded and unpacked once for the four rows. v16, v20, v24, v28: their sums. */
RVV_OUT_OF_LINE void linear_four(const struct kernel_weight *w, const struct kernel_q8a *x,
                                 uint32_t row0, uint32_t row1, float *out, size_t stride,
                                 int minimum)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    for (size_t vl; rows.count; rows.count -= vl, out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q0 = x[0].values, *q1 = x[1].values, *q2 = x[2].values, *q3 = x[3].values;
        size_t at = 0; /* bytes into scales and sums of the activations */
        vl = rvv_strip(rows.count);
        size_t half = rvv_half(vl);
        if (minimum)
            RUN_FOUR(OFFSET, MINIMUM);
        else
            RUN_FOUR("", WITHOUT);
        rows.values += vl;
        rows.scales += 2 * vl;
    }
}

RVV_OUT_OF_LINE void linear_several(const struct kernel_weight *w, const struct kernel_q8a *x,
                                    uint32_t row0, uint32_t row1, float *out, size_t stride,
                                    uint32_t count, int minimum)
{
    for (; count >= 4; count -= 4, x += 4, out += 4 * stride)
        linear_four(w, x, row0, row1, out, stride, minimum);
    for (; count; count--, x++, out += stride)
        linear_single(w, x, row0, row1, out, minimum);
}

void rvv_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    if (count == 1)
        linear_single(w, x, row0, row1, acc, 0);
    else
        linear_several(w, x, row0, row1, acc, acc_stride, count, 0);
}

void rvv_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    if (count == 1)
        linear_single(w, x, row0, row1, acc, 1);
    else
        linear_several(w, x, row0, row1, acc, acc_stride, count, 1);
}

#endif
