/* SPDX-License-Identifier: Apache-2.0 */

/* Q8 weights: two products are at most 32258 and are added in 16 bits, then widened to 32. */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include "kernels/rvv/registers.h"

#define VALUES (KERNEL_GROUP * KERNEL_TILE)

/* clang-format off */

/* What follows takes ROWS, the input rows: each has a PART of the columns' work, with the pointer to
 * its activations and the register of its sum. A group's first products make the sum (TAKE is
 * FIRST), the others add to it (ADD). */
#define ROWS_SINGLE(PART, ...) PART("%[q]", "v8", __VA_ARGS__)
#define ROWS_DOUBLE(PART, ...) PART("%[q0]", "v0", __VA_ARGS__) PART("%[q1]", "v8", __VA_ARGS__)

/* Products of four columns, v24 to v30, with activations a to d, added up by twos: v16 and v20. */
#define PART_FOUR(q, sum, TAKE, E8, E16, a, b, c, d) \
    "lb t0, " a "(" q ")\n" \
    "lb t1, " b "(" q ")\n" \
    "lb t2, " c "(" q ")\n" \
    "lb t3, " d "(" q ")\n" \
    RVV_SET(E8) \
    "vwmul.vx v16, v24, t0\n" \
    "vwmul.vx v20, v28, t2\n" \
    "vwmacc.vx v16, t1, v26\n" \
    "vwmacc.vx v20, t3, v30\n" \
    RVV_SET(E16) TAKE(sum)
#define FIRST(sum) "vwadd.vv " sum ", v16, v20\n"
#define ADD(sum) \
    "vwadd.wv " sum ", " sum ", v16\n" \
    "vwadd.wv " sum ", " sum ", v20\n"

#define FOUR(ROWS, TAKE, E8, E16, LOAD, ...) \
    LOAD("v24", "v26", "v28", "v30") ROWS(PART_FOUR, TAKE, E8, E16, __VA_ARGS__)
#define COLUMNS(ROWS, ...) \
    FOUR(ROWS, FIRST, __VA_ARGS__, "0", "1", "2", "3") \
    FOUR(ROWS, ADD, __VA_ARGS__, "4", "5", "6", "7") \
    FOUR(ROWS, ADD, __VA_ARGS__, "8", "9", "10", "11") \
    FOUR(ROWS, ADD, __VA_ARGS__, "12", "13", "14", "15") \
    FOUR(ROWS, ADD, __VA_ARGS__, "16", "17", "18", "19") \
    FOUR(ROWS, ADD, __VA_ARGS__, "20", "21", "22", "23") \
    FOUR(ROWS, ADD, __VA_ARGS__, "24", "25", "26", "27") \
    FOUR(ROWS, ADD, __VA_ARGS__, "28", "29", "30", "31")
#define FOLD(E32, halves, quarters) RVV_SET(E32)

/* Where eight registers are loaded at a time: products of the columns k, k + step and so on, one in
 * each of them, added up by twos in p0 to p3. A sum has eight registers, too: several sums of a
 * row, of which each takes some of the products, and which are added at the group's end. */
#define EIGHT(q, E8, step, k, p0, p1, p2, p3) \
    "lb t0, " k "(" q ")\n" \
    "lb t1, " k "+" step "(" q ")\n" \
    "lb t2, " k "+2*" step "(" q ")\n" \
    "lb t3, " k "+3*" step "(" q ")\n" \
    RVV_SET(E8) \
    "vwmul.vx " p0 ", v24, t0\n" \
    "vwmul.vx " p1 ", v26, t2\n" \
    "vwmacc.vx " p0 ", t1, v25\n" \
    "vwmacc.vx " p1 ", t3, v27\n" \
    "lb t0, " k "+4*" step "(" q ")\n" \
    "lb t1, " k "+5*" step "(" q ")\n" \
    "lb t2, " k "+6*" step "(" q ")\n" \
    "lb t3, " k "+7*" step "(" q ")\n" \
    "vwmul.vx " p2 ", v28, t0\n" \
    "vwmul.vx " p3 ", v30, t2\n" \
    "vwmacc.vx " p2 ", t1, v29\n" \
    "vwmacc.vx " p3 ", t3, v31\n" \
    RVV_SET_ALL("e16, m4")

/* VLEN 512: a column in a register, two sums. */
#define PART_ONE(q, sum, TAKE, E8, k) EIGHT(q, E8, "1", k, "v16", "v18", "v20", "v22") TAKE(sum)
#define EIGHT_ONE(ROWS, TAKE, E8, k) RVV_LOAD_EIGHT("v24", "512") ROWS(PART_ONE, TAKE, E8, k)
#define COLUMNS_ONE(ROWS, E8, E16, LOAD) \
    EIGHT_ONE(ROWS, FIRST, E8, "0") EIGHT_ONE(ROWS, ADD, E8, "8") \
    EIGHT_ONE(ROWS, ADD, E8, "16")  EIGHT_ONE(ROWS, ADD, E8, "24")
#define FOLD_ONE(E32, halves, quarters) RVV_SET(E32) halves

/* VLEN 1024: two columns in a register, four sums. */
#define WIDEN(sum, products) "vwadd.vx " sum ", " products ", zero\n"
#define WIDEN_ADD(sum, products) "vwadd.wv " sum ", " sum ", " products "\n"
#define PART_HALF(q, sum, TAKE, E8, k) \
    EIGHT(q, E8, "2", k, "v16", "v17", "v18", "v19") TAKE(sum, "v16")
#define UPPER_HALVES RVV_SET_ALL("e8, m8") "vslidedown.vx v24, v24, %[vl]\n"
#define COLUMNS_HALF(ROWS, E8, E16, LOAD) \
    RVV_LOAD_EIGHT("v24", "1024") ROWS(PART_HALF, WIDEN, E8, "0") \
    UPPER_HALVES ROWS(PART_HALF, WIDEN_ADD, E8, "1") \
    RVV_LOAD_EIGHT("v24", "1024") ROWS(PART_HALF, WIDEN_ADD, E8, "16") \
    UPPER_HALVES ROWS(PART_HALF, WIDEN_ADD, E8, "17")
#define FOLD_HALF(E32, halves, quarters) RVV_SET_ALL("e32, m4") halves RVV_SET(E32) quarters

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

/* ---- one input row ---- */

#define ADVANCE_SINGLE \
    "addi %[scale], %[scale], 4\n" \
    "addi %[q], %[q], 32\n" \
    "bne %[q], %[end], 1b\n"

/* v0: accumulators, v8: sums. */
#define SINGLE(...) SINGLE_(__VA_ARGS__)
#define SINGLE_(COLUMNS, FOLD, E8, E16, E32, LOAD, AT, NEXT) \
    RVV_SET(E32) \
    "vmv.v.i v0, 0\n" \
    "1:\n" \
    COLUMNS(ROWS_SINGLE, E8, E16, LOAD) \
    "flw ft0, (%[scale])\n" \
    FOLD(E32, "vadd.vv v8, v8, v12\n", "vadd.vv v8, v8, v10\n") \
    "vfcvt.f.x.v v8, v8\n" \
    SCALES("v16", "v20", AT, "ft0") \
    "vfmacc.vv v0, v8, v16\n" \
    NEXT ADVANCE_SINGLE \
    "vse32.v v0, (%[out])\n"

/* A whole tile at VLEN 128, by halves from 32 bits on. v0, v8: sums; accumulators are in memory.
 * Columns a and b are in v24 to v31, their activations at q. */
#define TWO_COLUMNS(TAKE, q, a, b) \
    RVV_SET_ALL("e8, m4") \
    "lb t0, " a "(" q ")\n" \
    "lb t1, " b "(" q ")\n" \
    "vwmul.vx v16, v24, t0\n" \
    "vwmacc.vx v16, t1, v28\n" \
    RVV_SET_ALL("e16, m4") TAKE("v0", "v16") TAKE("v8", "v20")

#define NEXT_TWO(TAKE, a, b) RVV_LOAD_EIGHT("v24", "128") TWO_COLUMNS(TAKE, "%[q]", a, b)
#define TILE_FOUR \
    RVV_SET_ALL("e32, m8") \
    "vmv.v.i v0, 0\n" \
    "vse32.v v0, (%[out])\n" \
    "vse32.v v0, (%[upper])\n" \
    "1:\n" \
    NEXT_TWO(WIDEN, "0", "1")       NEXT_TWO(WIDEN_ADD, "2", "3") \
    NEXT_TWO(WIDEN_ADD, "4", "5")   NEXT_TWO(WIDEN_ADD, "6", "7") \
    NEXT_TWO(WIDEN_ADD, "8", "9")   NEXT_TWO(WIDEN_ADD, "10", "11") \
    NEXT_TWO(WIDEN_ADD, "12", "13") NEXT_TWO(WIDEN_ADD, "14", "15") \
    NEXT_TWO(WIDEN_ADD, "16", "17") NEXT_TWO(WIDEN_ADD, "18", "19") \
    NEXT_TWO(WIDEN_ADD, "20", "21") NEXT_TWO(WIDEN_ADD, "22", "23") \
    NEXT_TWO(WIDEN_ADD, "24", "25") NEXT_TWO(WIDEN_ADD, "26", "27") \
    NEXT_TWO(WIDEN_ADD, "28", "29") NEXT_TWO(WIDEN_ADD, "30", "31") \
    "flw ft0, (%[scale])\n" \
    RVV_SET_ALL("e32, m8") \
    SCALES("v16", "v20", "%[values]", "ft0") ACCUMULATE("v0", "%[out]") \
    "addi t0, %[values], 64\n" \
    SCALES("v16", "v20", "t0", "ft0") ACCUMULATE("v8", "%[upper]") \
    RVV_NEXT ADVANCE_SINGLE
/* clang-format on */

#define RUN_SINGLE(TEXT)                                                                           \
    __asm__ volatile(                                                                              \
        TEXT                                                                                       \
        : [values] "+&r"(values), [scales] "+&r"(scales), [q] "+&r"(q), [scale] "+&r"(scale)       \
        : [vl] "r"(vl), [skip] "r"(rows.record - VALUES), [record] "r"(rows.record),               \
          [out] "r"(out), [upper] "r"(out + KERNEL_TILE / 2),                                      \
          [end] "r"(q + KERNEL_GROUP * rows.groups)                                                \
        : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "ft0")

RVV_OUT_OF_LINE void linear_single_wide(const struct kernel_weight *w, const struct kernel_q8a *x,
                                        uint32_t row0, uint32_t row1, float *out)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    const uint8_t *values = rows.values, *scales = rows.scales;
    const int8_t *q = x->values;
    const float *scale = x->scales;
    size_t vl = KERNEL_TILE;
    if (rows.vlenb == KERNEL_TILE)
        RUN_SINGLE(SINGLE(COLUMNS_ONE, FOLD_ONE, RVV_TILE_ONE));
    else
        RUN_SINGLE(SINGLE(COLUMNS_HALF, FOLD_HALF, RVV_TILE_HALF));
}

RVV_OUT_OF_LINE void linear_single(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   uint32_t row0, uint32_t row1, float *out)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    if (rvv_wide(&rows)) {
        linear_single_wide(w, x, row0, row1, out);
        return;
    }
    for (size_t vl; rows.count; rvv_advance(&rows, vl), out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q = x->values;
        const float *scale = x->scales;
        enum rvv_strip strip = rvv_strip(&rows, 1);
        vl = rvv_strip_rows(&rows, strip);
        if (strip == RVV_STRIP_TILE_FOUR)
            RUN_SINGLE(TILE_FOUR);
        else if (strip == RVV_STRIP_TILE_TWO)
            RUN_SINGLE(SINGLE(COLUMNS, FOLD, RVV_TILE_TWO));
        else if (strip == RVV_STRIP_TWO)
            RUN_SINGLE(SINGLE(COLUMNS, FOLD, RVV_TWO));
        else
            RUN_SINGLE(SINGLE(COLUMNS, FOLD, RVV_ONE));
    }
}

/* ---- two input rows: each weight is loaded once for them ---- */

/* clang-format off */

/* v0, v8: sums; accumulators are in memory. */
#define DOUBLE(...) DOUBLE_(__VA_ARGS__)
#define DOUBLE_(COLUMNS, FOLD, E8, E16, E32, LOAD, AT, NEXT) \
    RVV_SET(E32) \
    "vmv.v.i v0, 0\n" \
    "vse32.v v0, (%[out0])\n" \
    "vse32.v v0, (%[out1])\n" \
    "1:\n" \
    COLUMNS(ROWS_DOUBLE, E8, E16, LOAD) \
    "flw ft0, (%[scale0])\n" \
    "flw ft1, (%[scale1])\n" \
    FOLD(E32, "vadd.vv v0, v0, v4\n vadd.vv v8, v8, v12\n", \
              "vadd.vv v0, v0, v2\n vadd.vv v8, v8, v10\n") \
    SCALES("v16", "v20", AT, "ft0") ACCUMULATE("v0", "%[out0]") \
    SCALES("v16", "v20", AT, "ft1") ACCUMULATE("v8", "%[out1]") \
    NEXT \
    "addi %[scale0], %[scale0], 4\n" \
    "addi %[scale1], %[scale1], 4\n" \
    "addi %[q0], %[q0], 32\n" \
    "addi %[q1], %[q1], 32\n" \
    "bne %[q0], %[end], 1b\n"
/* clang-format on */

#define RUN_DOUBLE(...)                                                                            \
    __asm__ volatile(                                                                              \
        DOUBLE(__VA_ARGS__)                                                                        \
        : [values] "+&r"(values), [scales] "+&r"(scales), [q0] "+&r"(q0), [q1] "+&r"(q1),          \
          [scale0] "+&r"(scale0), [scale1] "+&r"(scale1)                                           \
        : [vl] "r"(vl), [skip] "r"(rows.record - VALUES), [record] "r"(rows.record),               \
          [out0] "r"(out), [out1] "r"(out + stride), [end] "r"(q0 + KERNEL_GROUP * rows.groups)    \
        : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "ft0", "ft1")

RVV_OUT_OF_LINE void linear_double_wide(const struct kernel_weight *w, const struct kernel_q8a *x,
                                        uint32_t row0, uint32_t row1, float *out, size_t stride)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    const uint8_t *values = rows.values, *scales = rows.scales;
    const int8_t *q0 = x[0].values, *q1 = x[1].values;
    const float *scale0 = x[0].scales, *scale1 = x[1].scales;
    size_t vl = KERNEL_TILE;
    if (rows.vlenb == KERNEL_TILE)
        RUN_DOUBLE(COLUMNS_ONE, FOLD_ONE, RVV_TILE_ONE);
    else
        RUN_DOUBLE(COLUMNS_HALF, FOLD_HALF, RVV_TILE_HALF);
}

RVV_OUT_OF_LINE void linear_double(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   uint32_t row0, uint32_t row1, float *out, size_t stride)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    if (rvv_wide(&rows)) {
        linear_double_wide(w, x, row0, row1, out, stride);
        return;
    }
    for (size_t vl; rows.count; rvv_advance(&rows, vl), out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q0 = x[0].values, *q1 = x[1].values;
        const float *scale0 = x[0].scales, *scale1 = x[1].scales;
        enum rvv_strip strip = rvv_strip(&rows, 0);
        vl = rvv_strip_rows(&rows, strip);
        if (strip == RVV_STRIP_TILE_TWO)
            RUN_DOUBLE(COLUMNS, FOLD, RVV_TILE_TWO);
        else if (strip == RVV_STRIP_TWO)
            RUN_DOUBLE(COLUMNS, FOLD, RVV_TWO);
        else
            RUN_DOUBLE(COLUMNS, FOLD, RVV_ONE);
    }
}

/* ---- several input rows and a whole tile at VLEN 128: sums of one row alone fit the registers, so
 * each weight is loaded from the cache for every row. Where its columns lie is kept ---- */

struct rows_four {
    const uint8_t *values; /* of the first record */
    size_t record;
    size_t end; /* bytes of a row's activations */
    const struct kernel_q8a *x, *x_end;
    float *out;
    size_t stride; /* bytes */
};

_Static_assert(offsetof(struct rows_four, record) == 8, "offsets in ROWS_FOUR");
_Static_assert(offsetof(struct rows_four, end) == 16, "offsets in ROWS_FOUR");
_Static_assert(offsetof(struct rows_four, x) == 24, "offsets in ROWS_FOUR");
_Static_assert(offsetof(struct rows_four, x_end) == 32, "offsets in ROWS_FOUR");
_Static_assert(offsetof(struct rows_four, out) == 40, "offsets in ROWS_FOUR");
_Static_assert(offsetof(struct rows_four, stride) == 48, "offsets in ROWS_FOUR");
_Static_assert(sizeof(struct kernel_q8a) == 24, "offsets in ROWS_FOUR");
_Static_assert(offsetof(struct kernel_q8a, scales) == 8, "offsets in ROWS_FOUR");

/* clang-format off */

/* a0 and the registers that are made from it: where columns 0, 2, 4 and so on lie; a2, s11: bytes
 * into a row's activations and scales; a3: input row; a4: its accumulators; a5: their stride; a6:
 * activations; a7: behind the last input row. */
#define COLUMNS_AT(at, TAKE, a, b) "vl8re8.v v24, (" at ")\n" TWO_COLUMNS(TAKE, "a6", a, b)
#define ROWS_FOUR \
    "ld a0, (%[rows])\n" \
    "ld a7, 32(%[rows])\n" \
    "ld a5, 48(%[rows])\n" \
    "ld a3, 24(%[rows])\n" \
    "ld a4, 40(%[rows])\n" \
    RVV_SET_ALL("e32, m8") \
    "vmv.v.i v0, 0\n" \
    "1:\n" \
    "vse32.v v0, (a4)\n" \
    "addi t1, a4, 128\n" \
    "vse32.v v0, (t1)\n" \
    "addi a3, a3, 24\n" \
    "add a4, a4, a5\n" \
    "bne a3, a7, 1b\n" \
    "li a2, 0\n" \
    "li s11, 0\n" \
    "2:\n" \
    "addi a1, a0, 128\n addi t2, a0, 256\n addi t3, a0, 384\n addi t4, a0, 512\n" \
    "addi t5, a0, 640\n addi t6, a0, 768\n addi s2, a0, 896\n addi s3, a0, 1024\n" \
    "addi s4, a0, 1152\n addi s5, a0, 1280\n addi s6, a0, 1408\n addi s7, a0, 1536\n" \
    "addi s8, a0, 1664\n addi s9, a0, 1792\n addi s10, a0, 1920\n" \
    "ld a3, 24(%[rows])\n" \
    "ld a4, 40(%[rows])\n" \
    "3:\n" \
    "ld a6, (a3)\n" \
    "add a6, a6, a2\n" \
    COLUMNS_AT("a0", WIDEN, "0", "1")        COLUMNS_AT("a1", WIDEN_ADD, "2", "3") \
    COLUMNS_AT("t2", WIDEN_ADD, "4", "5")    COLUMNS_AT("t3", WIDEN_ADD, "6", "7") \
    COLUMNS_AT("t4", WIDEN_ADD, "8", "9")    COLUMNS_AT("t5", WIDEN_ADD, "10", "11") \
    COLUMNS_AT("t6", WIDEN_ADD, "12", "13")  COLUMNS_AT("s2", WIDEN_ADD, "14", "15") \
    COLUMNS_AT("s3", WIDEN_ADD, "16", "17")  COLUMNS_AT("s4", WIDEN_ADD, "18", "19") \
    COLUMNS_AT("s5", WIDEN_ADD, "20", "21")  COLUMNS_AT("s6", WIDEN_ADD, "22", "23") \
    COLUMNS_AT("s7", WIDEN_ADD, "24", "25")  COLUMNS_AT("s8", WIDEN_ADD, "26", "27") \
    COLUMNS_AT("s9", WIDEN_ADD, "28", "29")  COLUMNS_AT("s10", WIDEN_ADD, "30", "31") \
    "ld a6, 8(a3)\n" \
    "add a6, a6, s11\n" \
    "flw ft0, (a6)\n" \
    "addi t1, s10, 128\n" \
    RVV_SET_ALL("e32, m8") \
    SCALES("v16", "v20", "t1", "ft0") ACCUMULATE("v0", "a4") \
    "addi t1, s10, 192\n" \
    "addi a6, a4, 128\n" \
    SCALES("v16", "v20", "t1", "ft0") ACCUMULATE("v8", "a6") \
    "addi a3, a3, 24\n" \
    "add a4, a4, a5\n" \
    "bne a3, a7, 3b\n" \
    "ld a6, 8(%[rows])\n" \
    "add a0, a0, a6\n" \
    "addi a2, a2, 32\n" \
    "addi s11, s11, 4\n" \
    "ld a6, 16(%[rows])\n" \
    "bne a2, a6, 2b\n"
/* clang-format on */

RVV_OUT_OF_LINE void linear_rows_four(const struct kernel_weight *w, const struct kernel_q8a *x,
                                      uint32_t row0, float *out, size_t stride, uint32_t count)
{
    struct rvv_rows tile = rvv_rows(w, row0, row0 + KERNEL_TILE, VALUES);
    struct rows_four rows = {tile.values, tile.record, KERNEL_GROUP * tile.groups, x,
                             x + count,   out,         sizeof(float) * stride};
    __asm__ volatile(ROWS_FOUR
                     :
                     : [rows] "r"(&rows)
                     : RVV_CLOBBERS, "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1",
                       "t2", "t3", "t4", "t5", "t6", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9",
                       "s10", "s11", "ft0");
}

RVV_OUT_OF_LINE void linear_rows(const struct kernel_weight *w, const struct kernel_q8a *x,
                                 uint32_t row0, uint32_t row1, float *out, size_t stride,
                                 uint32_t count)
{
    if (rvv_vlenb() == KERNEL_TILE / 4 && row1 - row0 == KERNEL_TILE) {
        linear_rows_four(w, x, row0, out, stride, count);
        return;
    }
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
