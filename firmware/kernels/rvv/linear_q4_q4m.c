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
_Static_assert(sizeof(struct kernel_q8a) == 24, "offsets in START and FINISH");
_Static_assert(offsetof(struct kernel_q8a, scales) == 8, "offsets in FINISH");
_Static_assert(offsetof(struct kernel_q8a, sums) == 16, "offsets in START and FINISH");

/* clang-format off */

/* BOTH(low, high, a, b) takes nibbles of the columns a and b. */

/* Low nibbles to `low`, the high ones remain. */
#define SPLIT(byte, low) \
    "vand.vi " low ", " byte ", 15\n" \
    "vsrl.vi " byte ", " byte ", 4\n"
#define PAIR(BOTH, byte, low, a, b) SPLIT(byte, low) BOTH(low, byte, a, b)

/* Sixteen pairs of columns, four at a time, each split by itself. */
#define FOUR(BOTH, LOAD, k) \
    LOAD("v0", "v2", "v4", "v6") \
    PAIR(BOTH, "v0", "v8", k "+0", k "+1")  PAIR(BOTH, "v2", "v10", k "+2", k "+3") \
    PAIR(BOTH, "v4", "v12", k "+4", k "+5") PAIR(BOTH, "v6", "v14", k "+6", k "+7")
#define SIXTEEN(BOTH, E8, LOAD) \
    RVV_SET(E8) \
    FOUR(BOTH, LOAD, "0") FOUR(BOTH, LOAD, "8") FOUR(BOTH, LOAD, "16") FOUR(BOTH, LOAD, "24")

/* Eight pairs from column k on in the eight registers of a load, split by one instruction; at VLEN
 * 1024 a register holds two pairs, and `step` passes over the second one's columns. */
#define SPLIT_EIGHT(bytes) RVV_LOAD_EIGHT("v0", bytes) RVV_SET_ALL("e8, m8") SPLIT("v0", "v8")
#define EIGHT(BOTH, step, k) \
    BOTH("v8", "v0", k, k "+1") \
    BOTH("v9", "v1", k "+" step, k "+1+" step) \
    BOTH("v10", "v2", k "+2*" step, k "+1+2*" step) \
    BOTH("v11", "v3", k "+3*" step, k "+1+3*" step) \
    BOTH("v12", "v4", k "+4*" step, k "+1+4*" step) \
    BOTH("v13", "v5", k "+5*" step, k "+1+5*" step) \
    BOTH("v14", "v6", k "+6*" step, k "+1+6*" step) \
    BOTH("v15", "v7", k "+7*" step, k "+1+7*" step)
#define SIXTEEN_ONE(BOTH, E8, LOAD) \
    SPLIT_EIGHT("512") RVV_SET(E8) EIGHT(BOTH, "2", "0") \
    SPLIT_EIGHT("512") RVV_SET(E8) EIGHT(BOTH, "2", "16")
#define SIXTEEN_HALF(BOTH, E8, LOAD) \
    SPLIT_EIGHT("1024") RVV_SET(E8) EIGHT(BOTH, "4", "0") \
    RVV_SET_ALL("e8, m8") \
    "vslidedown.vx v0, v0, %[vl]\n" \
    "vslidedown.vx v8, v8, %[vl]\n" \
    RVV_SET(E8) EIGHT(BOTH, "4", "2")

/* high part of `to` = 16-bit scales or minima at `from`; then all of `to` as floats. */
#define LOAD_BF16(to, high, from) \
    "vle16.v " high ", (" from ")\n" \
    "vzext.vf2 " to ", " high "\n" \
    "vsll.vi " to ", " to ", 16\n"

/* ---- one input row ---- */

/* Two sums, so that one multiplication need not wait for the other. */
#define BOTH_SUMS(sum0, sum1, low, high, a, b) \
    "lb t0, " a "(%[q])\n" \
    "lb t1, " b "(%[q])\n" \
    "vwmaccsu.vx " sum0 ", t0, " low "\n" \
    "vwmaccsu.vx " sum1 ", t1, " high "\n"
#define BOTH_SINGLE(low, high, a, b) BOTH_SUMS("v24", "v28", low, high, a, b)

/* sum1 and -8 times t2, the sum of the activations. */
#define START_SINGLE(sum0, sum1) \
    "lw t2, (%[sum])\n" \
    "slli t0, t2, 3\n" \
    "neg t0, t0\n" \
    "vmv.v.x " sum0 ", t0\n" \
    "vmv.v.i " sum1 ", 0\n"

/* ft1 = scale times sum of the activations. */
#define OFFSET_SINGLE "fcvt.s.w ft1, t2\n fmul.s ft1, ft0, ft1\n"
/* acc += minima times ft1; they lie 128 bytes behind the scales. */
#define MINIMUM(acc, m, high, scales) \
    "addi t0, " scales ", 128\n" \
    LOAD_BF16(m, high, "t0") \
    "vfmacc.vf " acc ", ft1, " m "\n"
#define WITHOUT(acc, m, high, scales)

#define ADVANCE_SINGLE \
    "addi %[q], %[q], 32\n" \
    "addi %[scale], %[scale], 4\n" \
    "addi %[sum], %[sum], 4\n" \
    "bne %[q], %[end], 1b\n"

/* v16: accumulators. */
#define SINGLE(...) SINGLE_(__VA_ARGS__)
#define SINGLE_(SIXTEEN, OFFSET, MINIMUM, E8, E16, E32, LOAD, AT, NEXT) \
    RVV_SET(E32) \
    "vmv.v.i v16, 0\n" \
    "1:\n" \
    RVV_SET(E16) START_SINGLE("v24", "v28") \
    SIXTEEN(BOTH_SINGLE, E8, LOAD) \
    "flw ft0, (%[scale])\n" \
    RVV_SET(E16) \
    "vadd.vv v24, v24, v28\n" \
    "vfwcvt.f.x.v v0, v24\n" \
    RVV_SET(E32) LOAD_BF16("v8", "v12", AT) \
    "vfmul.vf v8, v8, ft0\n" \
    "vfmacc.vv v16, v8, v0\n" \
    OFFSET MINIMUM("v16", "v8", "v12", AT) \
    NEXT ADVANCE_SINGLE \
    "vse32.v v16, (%[out])\n"

/* ---- one input row and a whole tile at VLEN 128: the accumulators are in memory ---- */

#define BOTH_FOUR(low, high, a, b) BOTH_SUMS("v0", "v8", low, high, a, b)
#define TWO_PAIRS(a, b, c, d) \
    RVV_LOAD_EIGHT("v16", "128") \
    PAIR(BOTH_FOUR, "v16", "v24", a, b) \
    PAIR(BOTH_FOUR, "v20", "v28", c, d)

/* Half of the rows: their sums, scales and accumulators. */
#define FINISH_HALF(sum, scales, out, MINIMUM) \
    "vsetvli zero, %[half], e16, m4, ta, ma\n" \
    "vfwcvt.f.x.v v8, " sum "\n" \
    "vsetvli zero, %[half], e32, m8, ta, ma\n" \
    LOAD_BF16("v16", "v20", scales) \
    "vfmul.vf v16, v16, ft0\n" \
    "vle32.v v24, (" out ")\n" \
    "vfmacc.vv v24, v16, v8\n" \
    MINIMUM("v24", "v16", "v20", scales) \
    "vse32.v v24, (" out ")\n"

#define TILE_FOUR(OFFSET, MINIMUM) \
    "vsetvli zero, %[half], e32, m8, ta, ma\n" \
    "vmv.v.i v0, 0\n" \
    "vse32.v v0, (%[out])\n" \
    "vse32.v v0, (%[upper])\n" \
    "1:\n" \
    "vsetvli zero, %[vl], e16, m8, ta, ma\n" START_SINGLE("v0", "v8") \
    "vsetvli zero, %[vl], e8, m4, ta, ma\n" \
    TWO_PAIRS("0", "1", "2", "3")     TWO_PAIRS("4", "5", "6", "7") \
    TWO_PAIRS("8", "9", "10", "11")   TWO_PAIRS("12", "13", "14", "15") \
    TWO_PAIRS("16", "17", "18", "19") TWO_PAIRS("20", "21", "22", "23") \
    TWO_PAIRS("24", "25", "26", "27") TWO_PAIRS("28", "29", "30", "31") \
    "flw ft0, (%[scale])\n" \
    OFFSET \
    "vsetvli zero, %[vl], e16, m8, ta, ma\n" \
    "vadd.vv v0, v0, v8\n" \
    FINISH_HALF("v0", "%[values]", "%[out]", MINIMUM) \
    "addi t1, %[values], 64\n" \
    FINISH_HALF("v4", "t1", "%[upper]", MINIMUM) \
    RVV_NEXT ADVANCE_SINGLE
/* clang-format on */

#define RUN_SINGLE(TEXT)                                                                           \
    __asm__ volatile(TEXT                                                                          \
                     : [values] "+&r"(values), [scales] "+&r"(scales), [q] "+&r"(q),               \
                       [scale] "+&r"(scale), [sum] "+&r"(sum)                                      \
                     : [vl] "r"(vl), [skip] "r"(rows.record - VALUES), [record] "r"(rows.record),  \
                       [out] "r"(out), [upper] "r"(out + KERNEL_TILE / 2), [half] "r"(vl / 2),     \
                       [end] "r"(q + KERNEL_GROUP * rows.groups)                                   \
                     : RVV_CLOBBERS, "t0", "t1", "t2", "ft0", "ft1")

#define RUN_SINGLE_STRIP(OFFSET, MINIMUM)                                                          \
    do {                                                                                           \
        if (strip == RVV_STRIP_TILE_FOUR)                                                          \
            RUN_SINGLE(TILE_FOUR(OFFSET, MINIMUM));                                                \
        else if (strip == RVV_STRIP_TILE_TWO)                                                      \
            RUN_SINGLE(SINGLE(SIXTEEN, OFFSET, MINIMUM, RVV_TILE_TWO));                            \
        else if (strip == RVV_STRIP_TWO)                                                           \
            RUN_SINGLE(SINGLE(SIXTEEN, OFFSET, MINIMUM, RVV_TWO));                                 \
        else                                                                                       \
            RUN_SINGLE(SINGLE(SIXTEEN, OFFSET, MINIMUM, RVV_ONE));                                 \
    } while (0)

#define RUN_SINGLE_WIDE(OFFSET, MINIMUM)                                                           \
    do {                                                                                           \
        if (rows.vlenb == KERNEL_TILE)                                                             \
            RUN_SINGLE(SINGLE(SIXTEEN_ONE, OFFSET, MINIMUM, RVV_TILE_ONE));                        \
        else                                                                                       \
            RUN_SINGLE(SINGLE(SIXTEEN_HALF, OFFSET, MINIMUM, RVV_TILE_HALF));                      \
    } while (0)

RVV_OUT_OF_LINE void linear_single_wide(const struct kernel_weight *w, const struct kernel_q8a *x,
                                        int minimum, uint32_t row0, uint32_t row1, float *out)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    const uint8_t *values = rows.values, *scales = rows.scales;
    const int8_t *q = x->values;
    const float *scale = x->scales;
    const int32_t *sum = x->sums;
    size_t vl = KERNEL_TILE;
    if (minimum)
        RUN_SINGLE_WIDE(OFFSET_SINGLE, MINIMUM);
    else
        RUN_SINGLE_WIDE("", WITHOUT);
}

RVV_OUT_OF_LINE void linear_single(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   int minimum, uint32_t row0, uint32_t row1, float *out)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    if (rvv_wide(&rows)) {
        linear_single_wide(w, x, minimum, row0, row1, out);
        return;
    }
    for (size_t vl; rows.count; rvv_advance(&rows, vl), out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q = x->values;
        const float *scale = x->scales;
        const int32_t *sum = x->sums;
        enum rvv_strip strip = rvv_strip(&rows, 1);
        vl = rvv_strip_rows(&rows, strip);
        if (minimum)
            RUN_SINGLE_STRIP(OFFSET_SINGLE, MINIMUM);
        else
            RUN_SINGLE_STRIP("", WITHOUT);
    }
}

/* ---- two to four input rows: each weight is loaded and unpacked once for them ---- */

/* clang-format off */
/* t = where group `at` of an array of a row lies; `field` is the offset of its pointer. */
#define LOCATE(t, field) \
    "ld " t ", " field "(%[x])\n" \
    "add " t ", " t ", %[at]\n"

#define START(sum, sums) \
    LOCATE("t0", sums) \
    "lw t0, (t0)\n" \
    "slli t0, t0, 3\n" \
    "neg t0, t0\n" \
    "vmv.v.x " sum ", t0\n"
#define START_2 START("v24", "16") START("v28", "40")
#define START_3 START("v20", "16") START("v24", "40") START("v28", "64")
#define START_4 START("v16", "16") START("v20", "40") START("v24", "64") START("v28", "88")

#define MULTIPLY_2(k, nibbles) \
    "lb t0, " k "(%[q0])\n" \
    "lb t1, " k "(%[q1])\n" \
    "vwmaccsu.vx v24, t0, " nibbles "\n" \
    "vwmaccsu.vx v28, t1, " nibbles "\n"
#define MULTIPLY_3(k, nibbles) \
    "lb t0, " k "(%[q0])\n" \
    "lb t1, " k "(%[q1])\n" \
    "lb t2, " k "(%[q2])\n" \
    "vwmaccsu.vx v20, t0, " nibbles "\n" \
    "vwmaccsu.vx v24, t1, " nibbles "\n" \
    "vwmaccsu.vx v28, t2, " nibbles "\n"
#define MULTIPLY_4(k, nibbles) \
    "lb t0, " k "(%[q0])\n" \
    "lb t1, " k "(%[q1])\n" \
    "lb t2, " k "(%[q2])\n" \
    "lb t3, " k "(%[q3])\n" \
    "vwmaccsu.vx v16, t0, " nibbles "\n" \
    "vwmaccsu.vx v20, t1, " nibbles "\n" \
    "vwmaccsu.vx v24, t2, " nibbles "\n" \
    "vwmaccsu.vx v28, t3, " nibbles "\n"

#define BOTH_2(low, high, a, b) MULTIPLY_2(a, low) MULTIPLY_2(b, high)
#define BOTH_3(low, high, a, b) MULTIPLY_3(a, low) MULTIPLY_3(b, high)
#define BOTH_4(low, high, a, b) MULTIPLY_4(a, low) MULTIPLY_4(b, high)

/* ft1 = scale times sum of the activations. */
#define OFFSET(sums) \
    LOCATE("t1", sums) \
    "lw t1, (t1)\n" \
    "fcvt.s.w ft1, t1\n" \
    "fmul.s ft1, ft0, ft1\n"
#define WITHOUT_OFFSET(sums)

/* A group's end for one input row, its accumulators at t4: product of the scales in p, sum in f. */
#define FINISH(E16, E32, AT, OFFSET, MINIMUM, sum, scales, sums, p, p_high, f, acc) \
    LOCATE("t0", scales) \
    "flw ft0, (t0)\n" \
    OFFSET(sums) \
    RVV_SET(E16) \
    "vfwcvt.f.x.v " f ", " sum "\n" \
    RVV_SET(E32) \
    LOAD_BF16(p, p_high, AT) \
    "vfmul.vf " p ", " p ", ft0\n" \
    "vle32.v " acc ", (t4)\n" \
    "vfmacc.vv " acc ", " p ", " f "\n" \
    MINIMUM(acc, p, p_high, AT) \
    "vse32.v " acc ", (t4)\n"

/* The first row has the bytes' registers, and its sum's as soon as that is converted. This is
 * enough for strips of one register; those of two add in halves. */
#define FIRST_ONE(E16, E32, AT, OFFSET, MINIMUM) \
    FINISH(E16, E32, AT, OFFSET, MINIMUM, "v16", "8", "16", "v8", "v12", "v0", "v16")
#define FIRST_TWO(E16, E32, AT, OFFSET, MINIMUM) \
    LOCATE("t0", "8") \
    "flw ft0, (t0)\n" \
    OFFSET("16") \
    RVV_SET(E16) \
    "vfwcvt.f.x.v v0, v16\n" \
    RVV_SET(E32) \
    LOAD_BF16("v8", "v12", AT) \
    "vfmul.vf v8, v8, ft0\n" \
    "vsetvli zero, %[half], e32, m4, ta, ma\n" \
    "vle32.v v16, (t4)\n" \
    "vfmacc.vv v16, v8, v0\n" \
    MINIMUM("v16", "v8", "v10", AT) \
    "vse32.v v16, (t4)\n" \
    "slli t2, %[half], 1\n" \
    "add t3, " AT ", t2\n" \
    "slli t2, t2, 1\n" \
    "add t2, t2, t4\n" \
    "vsetvli zero, %[rest], e32, m4, ta, ma\n" \
    "vle32.v v16, (t2)\n" \
    "vfmacc.vv v16, v12, v4\n" \
    MINIMUM("v16", "v12", "v14", "t3") \
    "vse32.v v16, (t2)\n"

#define NEXT(...) "add t4, t4, %[stride]\n" FINISH(__VA_ARGS__, "v0", "v4", "v16", "v8")
#define FINISH_2(FIRST, ...) \
    FINISH(__VA_ARGS__, "v24", "8", "16", "v0", "v4", "v16", "v8") \
    NEXT(__VA_ARGS__, "v28", "32", "40")
#define FINISH_3(FIRST, ...) \
    FINISH(__VA_ARGS__, "v20", "8", "16", "v0", "v4", "v16", "v8") \
    NEXT(__VA_ARGS__, "v24", "32", "40") \
    NEXT(__VA_ARGS__, "v28", "56", "64")
#define FINISH_4(FIRST, ...) \
    FIRST(__VA_ARGS__) \
    NEXT(__VA_ARGS__, "v20", "32", "40") \
    NEXT(__VA_ARGS__, "v24", "56", "64") \
    NEXT(__VA_ARGS__, "v28", "80", "88")

#define CLEAR_NEXT "add t4, t4, %[stride]\n vse32.v v0, (t4)\n"
#define CLEAR_2 "mv t4, %[out]\n vse32.v v0, (t4)\n" CLEAR_NEXT
#define CLEAR_3 CLEAR_2 CLEAR_NEXT
#define CLEAR_4 CLEAR_3 CLEAR_NEXT

#define ADVANCE_2 "addi %[q0], %[q0], 32\n addi %[q1], %[q1], 32\n"
#define ADVANCE_3 ADVANCE_2 "addi %[q2], %[q2], 32\n"
#define ADVANCE_4 ADVANCE_3 "addi %[q3], %[q3], 32\n"

#define SEVERAL(...) SEVERAL_(__VA_ARGS__)
#define SEVERAL_(N, SIXTEEN, FIRST, OFFSET, MINIMUM, E8, E16, E32, LOAD, AT, NEXT) \
    RVV_SET(E32) \
    "vmv.v.i v0, 0\n" \
    CLEAR_##N \
    "1:\n" \
    RVV_SET(E16) START_##N \
    SIXTEEN(BOTH_##N, E8, LOAD) \
    "mv t4, %[out]\n" \
    FINISH_##N(FIRST, E16, E32, AT, OFFSET, MINIMUM) \
    NEXT \
    "addi %[at], %[at], 4\n" \
    ADVANCE_##N \
    "bne %[at], %[end], 1b\n"
/* clang-format on */

#define RUN_SEVERAL(...)                                                                           \
    __asm__ volatile(                                                                              \
        SEVERAL(__VA_ARGS__)                                                                       \
        : [values] "+&r"(values), [scales] "+&r"(scales), [q0] "+&r"(q0), [q1] "+&r"(q1),          \
          [q2] "+&r"(q2), [q3] "+&r"(q3), [at] "+&r"(at)                                           \
        : [x] "r"(x), [vl] "r"(vl), [half] "r"(half), [rest] "r"(vl - half),                       \
          [skip] "r"(rows.record - VALUES), [record] "r"(rows.record), [out] "r"(out),             \
          [stride] "r"(sizeof(float) * stride), [end] "r"(sizeof(float) * rows.groups)             \
        : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "t4", "ft0", "ft1")

#define RUN_SEVERAL_STRIP(N, OFFSET, MINIMUM)                                                      \
    do {                                                                                           \
        if (strip == RVV_STRIP_TILE_TWO)                                                           \
            RUN_SEVERAL(N, SIXTEEN, FIRST_TWO, OFFSET, MINIMUM, RVV_TILE_TWO);                     \
        else if (strip == RVV_STRIP_TWO)                                                           \
            RUN_SEVERAL(N, SIXTEEN, FIRST_TWO, OFFSET, MINIMUM, RVV_TWO);                          \
        else                                                                                       \
            RUN_SEVERAL(N, SIXTEEN, FIRST_ONE, OFFSET, MINIMUM, RVV_ONE);                          \
    } while (0)

#define RUN_SEVERAL_WIDE(N, OFFSET, MINIMUM)                                                       \
    do {                                                                                           \
        if (rows.vlenb == KERNEL_TILE)                                                             \
            RUN_SEVERAL(N, SIXTEEN_ONE, FIRST_ONE, OFFSET, MINIMUM, RVV_TILE_ONE);                 \
        else                                                                                       \
            RUN_SEVERAL(N, SIXTEEN_HALF, FIRST_ONE, OFFSET, MINIMUM, RVV_TILE_HALF);               \
    } while (0)

#define RUN_SEVERAL_ROWS(RUN, OFFSET, MINIMUM)                                                     \
    do {                                                                                           \
        if (count == 4)                                                                            \
            RUN(4, OFFSET, MINIMUM);                                                               \
        else if (count == 3)                                                                       \
            RUN(3, OFFSET, MINIMUM);                                                               \
        else                                                                                       \
            RUN(2, OFFSET, MINIMUM);                                                               \
    } while (0)

RVV_OUT_OF_LINE void linear_several_wide(const struct kernel_weight *w, const struct kernel_q8a *x,
                                         uint32_t count, uint32_t row0, uint32_t row1, float *out,
                                         size_t stride, int minimum)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    const uint8_t *values = rows.values, *scales = rows.scales;
    const int8_t *q0 = x[0].values, *q1 = x[1].values;
    const int8_t *q2 = x[rvv_min(count - 1, 2)].values, *q3 = x[count - 1].values;
    size_t at = 0, vl = KERNEL_TILE, half = vl;
    if (minimum)
        RUN_SEVERAL_ROWS(RUN_SEVERAL_WIDE, OFFSET, MINIMUM);
    else
        RUN_SEVERAL_ROWS(RUN_SEVERAL_WIDE, WITHOUT_OFFSET, WITHOUT);
}

RVV_OUT_OF_LINE void linear_several(const struct kernel_weight *w, const struct kernel_q8a *x,
                                    uint32_t count, uint32_t row0, uint32_t row1, float *out,
                                    size_t stride, int minimum)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    if (rvv_wide(&rows)) {
        linear_several_wide(w, x, count, row0, row1, out, stride, minimum);
        return;
    }
    for (size_t vl; rows.count; rvv_advance(&rows, vl), out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q0 = x[0].values, *q1 = x[1].values;
        const int8_t *q2 = x[rvv_min(count - 1, 2)].values, *q3 = x[count - 1].values;
        enum rvv_strip strip = rvv_strip(&rows, 0);
        size_t at = 0; /* bytes into scales and sums of the activations */
        vl = rvv_strip_rows(&rows, strip);
        size_t half = rvv_min(vl, rows.vlenb);
        if (minimum)
            RUN_SEVERAL_ROWS(RUN_SEVERAL_STRIP, OFFSET, MINIMUM);
        else
            RUN_SEVERAL_ROWS(RUN_SEVERAL_STRIP, WITHOUT_OFFSET, WITHOUT);
    }
}

RVV_OUT_OF_LINE void linear_rows(const struct kernel_weight *w, const struct kernel_q8a *x,
                                 uint32_t count, uint32_t row0, uint32_t row1, float *out,
                                 size_t stride, int minimum)
{
    for (uint32_t rows; count; count -= rows, x += rows, out += rows * stride) {
        rows = count < 4 ? count : 4;
        if (rows == 1)
            linear_single(w, x, minimum, row0, row1, out);
        else
            linear_several(w, x, rows, row0, row1, out, stride, minimum);
    }
}

void rvv_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    if (count == 1)
        linear_single(w, x, 0, row0, row1, acc);
    else
        linear_rows(w, x, count, row0, row1, acc, acc_stride, 0);
}

void rvv_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    if (count == 1)
        linear_single(w, x, 1, row0, row1, acc);
    else
        linear_rows(w, x, count, row0, row1, acc, acc_stride, 1);
}

#endif
