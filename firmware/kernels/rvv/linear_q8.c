/* SPDX-License-Identifier: Apache-2.0 */

/* Q8 weights: two products are at most 32258 and are added in 16 bits, then widened to 32. */

#include "kernels/load.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include "kernels/rvv/registers.h"

#define VALUES (KERNEL_GROUP * KERNEL_TILE)

/* Four columns of a strip: v24, v26, v28, v30. */
#define LOAD_COLUMNS RVV_LOAD("v24") RVV_LOAD("v26") RVV_LOAD("v28") RVV_LOAD("v30")

/* Their products with activations a to d of row `q`, added up by twos: v16 and v20. */
#define MULTIPLY(q, a, b, c, d)                                                                    \
    "lb t0, " a "(" q ")\n"                                                                        \
    "lb t1, " b "(" q ")\n"                                                                        \
    "lb t2, " c "(" q ")\n"                                                                        \
    "lb t3, " d "(" q ")\n"                                                                        \
    "vsetvli zero, %[vl], e8, m2, ta, ma\n"                                                        \
    "vwmul.vx v16, v24, t0\n"                                                                      \
    "vwmul.vx v20, v28, t2\n"                                                                      \
    "vwmacc.vx v16, t1, v26\n"                                                                     \
    "vwmacc.vx v20, t3, v30\n"                                                                     \
    "vsetvli zero, %[vl], e16, m4, ta, ma\n"

/* A group's first products make its sum, the others add to it. */
#define FIRST(sum) "vwadd.vv " sum ", v16, v20\n"
#define ADD(sum)                                                                                   \
    "vwadd.wv " sum ", " sum ", v16\n"                                                             \
    "vwadd.wv " sum ", " sum ", v20\n"

#define EACH_FOUR(FOUR)                                                                            \
    FOUR("0", "1", "2", "3", FIRST)                                                                \
    FOUR("4", "5", "6", "7", ADD)                                                                  \
    FOUR("8", "9", "10", "11", ADD)                                                                \
    FOUR("12", "13", "14", "15", ADD)                                                              \
    FOUR("16", "17", "18", "19", ADD)                                                              \
    FOUR("20", "21", "22", "23", ADD)                                                              \
    FOUR("24", "25", "26", "27", ADD)                                                              \
    FOUR("28", "29", "30", "31", ADD)

#define SINGLE(a, b, c, d, TAKE) LOAD_COLUMNS MULTIPLY("%[q]", a, b, c, d) TAKE("v8")
#define DOUBLE(a, b, c, d, TAKE)                                                                   \
    LOAD_COLUMNS                                                                                   \
    MULTIPLY("%[q0]", a, b, c, d) TAKE("v0") MULTIPLY("%[q1]", a, b, c, d) TAKE("v8")

/* v16 = the strip's scales times `scale`. */
#define SCALES(scale)                                                                              \
    "vle16.v v20, (%[scales])\n"                                                                   \
    "vzext.vf2 v16, v20\n"                                                                         \
    "vsll.vi v16, v16, 16\n"                                                                       \
    "vfmul.vf v16, v16, " scale "\n"

/* One input row. v0: accumulators, v8: sums. */
RVV_OUT_OF_LINE void linear_single(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   uint32_t row0, uint32_t row1, float *out)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    for (size_t vl; rows.count; rows.count -= vl, out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q = x->values;
        const float *scale = x->scales;
        size_t groups = rows.groups;
        vl = rvv_strip(rows.count);
        __asm__ volatile("vsetvli zero, %[vl], e32, m8, ta, ma\n"
                         "vmv.v.i v0, 0\n"
                         "1:\n" EACH_FOUR(SINGLE) /**/
                         "flw ft0, (%[scale])\n"
                         "vsetvli zero, %[vl], e32, m8, ta, ma\n"
                         "vfcvt.f.x.v v8, v8\n" SCALES("ft0") /**/
                         "vfmacc.vv v0, v8, v16\n"
                         "add %[values], %[values], %[skip]\n"
                         "add %[scales], %[scales], %[record]\n"
                         "addi %[q], %[q], 32\n"
                         "addi %[scale], %[scale], 4\n"
                         "addi %[groups], %[groups], -1\n"
                         "bnez %[groups], 1b\n"
                         "vse32.v v0, (%[out])\n"
                         : [values] "+r"(values), [scales] "+r"(scales), [q] "+r"(q),
                           [scale] "+r"(scale), [groups] "+r"(groups)
                         : [vl] "r"(vl), [skip] "r"(rows.record - VALUES),
                           [record] "r"(rows.record), [out] "r"(out)
                         : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "ft0");
        rows.values += vl;
        rows.scales += 2 * vl;
    }
}

/* A group's end for one input row: its accumulators are in memory, for registers hold the sums. */
#define FINISH(sum, scale, out)                                                                    \
    "vfcvt.f.x.v " sum ", " sum "\n" SCALES(scale) /**/                                            \
        "vle32.v v24, (" out ")\n"                                                                 \
        "vfmacc.vv v24, " sum ", v16\n"                                                            \
        "vse32.v v24, (" out ")\n"

/* Two input rows: each weight is loaded once for them. v0, v8: their sums. */
RVV_OUT_OF_LINE void linear_double(const struct kernel_weight *w, const struct kernel_q8a *x,
                                   uint32_t row0, uint32_t row1, float *out, size_t stride)
{
    struct rvv_rows rows = rvv_rows(w, row0, row1, VALUES);
    for (size_t vl; rows.count; rows.count -= vl, out += vl) {
        const uint8_t *values = rows.values, *scales = rows.scales;
        const int8_t *q0 = x[0].values, *q1 = x[1].values;
        const float *scale0 = x[0].scales, *scale1 = x[1].scales;
        size_t groups = rows.groups;
        vl = rvv_strip(rows.count);
        __asm__ volatile(
            "vsetvli zero, %[vl], e32, m8, ta, ma\n"
            "vmv.v.i v0, 0\n"
            "vse32.v v0, (%[out0])\n"
            "vse32.v v0, (%[out1])\n"
            "1:\n" EACH_FOUR(DOUBLE) /**/
            "flw ft0, (%[scale0])\n"
            "flw ft1, (%[scale1])\n"
            "vsetvli zero, %[vl], e32, m8, ta, ma\n" /**/
            FINISH("v0", "ft0", "%[out0]")           /**/
            FINISH("v8", "ft1", "%[out1]")           /**/
            "add %[values], %[values], %[skip]\n"
            "add %[scales], %[scales], %[record]\n"
            "addi %[q0], %[q0], 32\n"
            "addi %[q1], %[q1], 32\n"
            "addi %[scale0], %[scale0], 4\n"
            "addi %[scale1], %[scale1], 4\n"
            "addi %[groups], %[groups], -1\n"
            "bnez %[groups], 1b\n"
            : [values] "+r"(values), [scales] "+r"(scales), [q0] "+r"(q0), [q1] "+r"(q1),
              [scale0] "+r"(scale0), [scale1] "+r"(scale1), [groups] "+r"(groups)
            : [vl] "r"(vl), [skip] "r"(rows.record - VALUES), [record] "r"(rows.record),
              [out0] "r"(out), [out1] "r"(out + stride)
            : RVV_CLOBBERS, "t0", "t1", "t2", "t3", "ft0", "ft1");
        rows.values += vl;
        rows.scales += 2 * vl;
    }
}

RVV_OUT_OF_LINE void linear_several(const struct kernel_weight *w, const struct kernel_q8a *x,
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
        linear_several(w, x, row0, row1, acc, acc_stride, count);
}

#endif
