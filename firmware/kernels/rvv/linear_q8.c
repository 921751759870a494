/* SPDX-License-Identifier: Apache-2.0 */

/* Q8 weights: two products are at most 32258 and are added in 16 bits, then widened to 32. */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include "kernels/rvv/registers.h"

#define VALUES (KERNEL_GROUP * KERNEL_TILE)

/* clang-format off */

/* Products of four columns, v24 to v30, with activations a to d of row `q`, added up by twos: v16
 * and v20. */
#define MULTIPLY(E8, E16, q, a, b, c, d) \
    "lb t0, " a "(" q ")\n" \
    "lb t1, " b "(" q ")\n" \
    "lb t2, " c "(" q ")\n" \
    "lb t3, " d "(" q ")\n" \
    RVV_SET(E8) \
    "vwmul.vx v16, v24, t0\n" \
    "vwmul.vx v20, v28, t2\n" \
    "vwmacc.vx v16, t1, v26\n" \
    "vwmacc.vx v20, t3, v30\n" \
    RVV_SET(E16)

/* A group's first products make its sum, the others add to it. */
#define FIRST(sum) "vwadd.vv " sum ", v16, v20\n"
#define ADD(sum) \
    "vwadd.wv " sum ", " sum ", v16\n" \
    "vwadd.wv " sum ", " sum ", v20\n"

#define EACH_FOUR(FOUR, ...) \
    FOUR(FIRST, "0", "1", "2", "3", __VA_ARGS__) \
    FOUR(ADD, "4", "5", "6", "7", __VA_ARGS__) \
    FOUR(ADD, "8", "9", "10", "11", __VA_ARGS__) \
    FOUR(ADD, "12", "13", "14", "15", __VA_ARGS__) \
    FOUR(ADD, "16", "17", "18", "19", __VA_ARGS__) \
    FOUR(ADD, "20", "21", "22", "23", __VA_ARGS__) \
    FOUR(ADD, "24", "25", "26", "27", __VA_ARGS__) \
    FOUR(ADD, "28", "29", "30", "31", __VA_ARGS__)

#define FOUR_SINGLE(TAKE, a, b, c, d, E8, E16, LOAD) \
    LOAD("v24", "v26", "v28", "v30") \
    MULTIPLY(E8, E16, "%[q]", a, b, c, d) TAKE("v8")
#define FOUR_DOUBLE(TAKE, a, b, c, d, E8, E16, LOAD) \
    LOAD("v24", "v26", "v28", "v30") \
    MULTIPLY(E8, E16, "%[q0]", a, b, c, d) TAKE("v0") \
    MULTIPLY(E8, E16, "%[q1]", a, b, c, d) TAKE("v8")

/* `to` = scales at `from` times `scale`; `high` is the end of `to`. */
#define SCALES(to, high, from, scale) \
    "vle16.v " high ", (" from ")\n" \
    "vzext.vf2 " to ", " high "\n" \
    "vsll.vi " to ", " to ", 16\n" \
    "vfmul.vf " to ", " to ", " scale "\n"

/* Accumulators in memory += sums times v16, by way of v24. */
#define ACCUMULATE(sum, out) \
    "vfcvt.f.x.v " sum ", " sum "\n" \
    "vle32.v v24, (" out ")\n" \
    "vfmacc.vv v24, " sum ", v16\n" \
    "vse32.v v24, (" out ")\n"

#define ADVANCE \
    "add %[values], %[values], %[skip]\n" \
    "add %[scales], %[scales], %[record]\n"

/* ---- one input row ---- */

#define ADVANCE_SINGLE \
    ADVANCE \
    "addi %[scale], %[scale], 4\n" \
    "addi %[q], %[q], 32\n" \
    "bne %[q], %[end], 1b\n"

/* v0: accumulators, v8: sums. */
#define SINGLE(...) SINGLE_(__VA_ARGS__)
#define SINGLE_(E8, E16, E32, LOAD) \
    RVV_SET(E32) \
    "vmv.v.i v0, 0\n" \
    "1:\n" \
    EACH_FOUR(FOUR_SINGLE, E8, E16, LOAD) \
    "flw ft0, (%[scale])\n" \
    RVV_SET(E32) \
    "vfcvt.f.x.v v8, v8\n" \
    SCALES("v16", "v20", "%[scales]", "ft0") \
    "vfmacc.vv v0, v8, v16\n" \
    ADVANCE_SINGLE \
    "vse32.v v0, (%[out])\n"

/* A whole tile at VLEN 128, by halves from 32 bits on. v0, v8: sums; accumulators are in memory. */
#define HALVES(vtype) "vsetvli zero, %[half], " vtype ", ta, ma\n"
#define WIDEN(sum, products) "vwadd.vx " sum ", " products ", zero\n"
#define WIDEN_ADD(sum, products) "vwadd.wv " sum ", " sum ", " products "\n"
#define TWO_COLUMNS(TAKE, a, b) \
    "vl8re8.v v24, (%[values])\n" \
    "addi %[values], %[values], 128\n" \
    "lb t0, " a "(%[q])\n" \
    "lb t1, " b "(%[q])\n" \
    "vsetvli zero, %[vl], e8, m4, ta, ma\n" \
    "vwmul.vx v16, v24, t0\n" \
    "vwmacc.vx v16, t1, v28\n" \
    HALVES("e16, m4") TAKE("v0", "v16") TAKE("v8", "v20")
#define FOUR_COLUMNS(a, b, c, d) TWO_COLUMNS(WIDEN_ADD, a, b) TWO_COLUMNS(WIDEN_ADD, c, d)

#define TILE_FOUR \
    HALVES("e32, m8") \
    "vmv.v.i v0, 0\n" \
    "vse32.v v0, (%[out])\n" \
    "vse32.v v0, (%[upper])\n" \
    "1:\n" \
    TWO_COLUMNS(WIDEN, "0", "1") TWO_COLUMNS(WIDEN_ADD, "2", "3") \
    FOUR_COLUMNS("4", "5", "6", "7")     FOUR_COLUMNS("8", "9", "10", "11") \
    FOUR_COLUMNS("12", "13", "14", "15") FOUR_COLUMNS("16", "17", "18", "19") \
    FOUR_COLUMNS("20", "21", "22", "23") FOUR_COLUMNS("24", "25", "26", "27") \
    FOUR_COLUMNS("28", "29", "30", "31") \
    "flw ft0, (%[scale])\n" \
    HALVES("e32, m8") \
    SCALES("v16", "v20", "%[scales]", "ft0") ACCUMULATE("v0", "%[out]") \
    "addi t0, %[scales], 64\n" \
    SCALES("v16", "v20", "t0", "ft0") ACCUMULATE("v8", "%[upper]") \
    ADVANCE_SINGLE
/* clang-format on */

#define RUN_SINGLE(TEXT)                                                                           \
    __asm__ volatile(                                                                              \
        TEXT                                                                                       \
        : [values] "+&r"(values), [scales] "+&r"(scales), [q] "+&r"(q), [scale] "+&r"(scale)       \
        : [vl] "r"(vl), [skip] "r"(rows.record - VALUES), [record] "r"(rows.record),               \
          [out] "r"(out), [upper] "r"(out + KERNEL_TILE / 2), [half] "r"(vl / 2),                  \
          [end] "r"(q + KERNEL_GROUP * rows.groups)                                                \
        : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "ft0")

RVV_OUT_OF_LINE void linear_single(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   uint32_t row0, uint32_t row1, float *out)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    for (size_t vl; rows.count; rvv_advance(&rows, vl), out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q = x->values;
        const float *scale = x->scales;
        enum rvv_strip strip = rvv_strip(&rows, 1);
        vl = rvv_strip_rows(&rows, strip);
        if (strip == RVV_STRIP_TILE_FOUR)
            RUN_SINGLE(TILE_FOUR);
        else if (strip == RVV_STRIP_TILE_TWO)
            RUN_SINGLE(SINGLE(RVV_TILE_TWO));
        else if (strip == RVV_STRIP_TWO)
            RUN_SINGLE(SINGLE(RVV_TWO));
        else
            RUN_SINGLE(SINGLE(RVV_ONE));
    }
}

/* ---- two input rows: each weight is loaded once for them ---- */

/* clang-format off */

/* v0, v8: sums; accumulators are in memory. */
#define DOUBLE(...) DOUBLE_(__VA_ARGS__)
#define DOUBLE_(E8, E16, E32, LOAD) \
    RVV_SET(E32) \
    "vmv.v.i v0, 0\n" \
    "vse32.v v0, (%[out0])\n" \
    "vse32.v v0, (%[out1])\n" \
    "1:\n" \
    EACH_FOUR(FOUR_DOUBLE, E8, E16, LOAD) \
    "flw ft0, (%[scale0])\n" \
    "flw ft1, (%[scale1])\n" \
    RVV_SET(E32) \
    SCALES("v16", "v20", "%[scales]", "ft0") ACCUMULATE("v0", "%[out0]") \
    SCALES("v16", "v20", "%[scales]", "ft1") ACCUMULATE("v8", "%[out1]") \
    ADVANCE \
    "addi %[scale0], %[scale0], 4\n" \
    "addi %[scale1], %[scale1], 4\n" \
    "addi %[q0], %[q0], 32\n" \
    "addi %[q1], %[q1], 32\n" \
    "bne %[q0], %[end], 1b\n"
/* clang-format on */

#define RUN_DOUBLE(STRIP)                                                                          \
    __asm__ volatile(                                                                              \
        DOUBLE(STRIP)                                                                              \
        : [values] "+&r"(values), [scales] "+&r"(scales), [q0] "+&r"(q0), [q1] "+&r"(q1),          \
          [scale0] "+&r"(scale0), [scale1] "+&r"(scale1)                                           \
        : [vl] "r"(vl), [skip] "r"(rows.record - VALUES), [record] "r"(rows.record),               \
          [out0] "r"(out), [out1] "r"(out + stride), [end] "r"(q0 + KERNEL_GROUP * rows.groups)    \
        : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "ft0", "ft1")

RVV_OUT_OF_LINE void linear_double(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   uint32_t row0, uint32_t row1, float *out, size_t stride)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    for (size_t vl; rows.count; rvv_advance(&rows, vl), out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q0 = x[0].values, *q1 = x[1].values;
        const float *scale0 = x[0].scales, *scale1 = x[1].scales;
        enum rvv_strip strip = rvv_strip(&rows, 0);
        vl = rvv_strip_rows(&rows, strip);
        if (strip == RVV_STRIP_TILE_TWO)
            RUN_DOUBLE(RVV_TILE_TWO);
        else if (strip == RVV_STRIP_TWO)
            RUN_DOUBLE(RVV_TWO);
        else
            RUN_DOUBLE(RVV_ONE);
    }
}

RVV_OUT_OF_LINE void linear_rows(const struct kernel_weight *w, const struct kernel_q8a *x,
                                 uint32_t row0, uint32_t row1, float *out, size_t stride,
                                 uint32_t count)
{
    for (; count >= 2; count -= 2, x += 2, out += 2 * stride)
        linear_double(w, x, row0, row1, out, stride);
    if (count)
        linear_single(w, x, row0, row1, out);
}

void rvv_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    if (count == 1)
        linear_single(w, x, row0, row1, acc);
    else
        linear_rows(w, x, row0, row1, acc, acc_stride, count);
}

#endif
