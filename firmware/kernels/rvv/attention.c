/* SPDX-License-Identifier: Apache-2.0 */

/* Scores and values of one page and one KV head: positions are lanes for int8 keys, dimensions for
 * values; f32 keys follow the 32 lanes of docs/numerics.md.
 *
 * Query heads that share a KV head share its loads and conversions. With three of them the sums
 * take 24 registers and a strip of keys or values the other 8, so the int8 loops are in assembly:
 * v0, v8 and v16 are the heads' sums. Their vtype never changes within a loop.
 */

#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

#include "kernels/rvv/fold.h"
#include "kernels/rvv/functions.h"
#include "kernels/rvv/registers.h"

#define STRIDE KERNEL_TILE /* of scores and weights, from head to head */

/* Lanes of 32 bits in eight registers, of `left`. */
static inline size_t strip(size_t left)
{
    size_t vl;
    __asm__ volatile("vsetvli %0, %1, e32, m8, ta, ma" : "=r"(vl) : "r"(left));
    return vl;
}

float rvv_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step)
{
    vfloat32m1_t most = __riscv_vfmv_s_f_f32m1(0.0f, 1);
    float inverse;
    size_t vl;
    for (size_t i = 0; i < head_dim; i += vl) {
        vl = __riscv_vsetvl_e32m8(head_dim - i);
        vfloat32m8_t v = __riscv_vfabs_v_f32m8(__riscv_vle32_v_f32m8(x + i, vl), vl);
        most = __riscv_vfredmax_vs_f32m8_f32m1(v, most, vl);
    }
    float scale = quantize_scale(__riscv_vfmv_f_s_f32m1_f32(most), &inverse);
    for (size_t i = 0; i < head_dim; i += vl) {
        vl = __riscv_vsetvl_e32m8(head_dim - i);
        vfloat32m8_t v = __riscv_vfmul_vf_f32m8(__riscv_vle32_v_f32m8(x + i, vl), inverse, vl);
        vint16m4_t q = __riscv_vfncvt_x_f_w_i16m4(__riscv_vfmin_vf_f32m8(v, 127.0f, vl), vl);
        __riscv_vsse8_v_i8m2(to + i * step, step, __riscv_vncvt_x_x_w_i8m2(q, vl), vl);
    }
    return scale;
}

/* ---- scores ---- */

/* The next dimension of a strip of keys, in 16 bits. `narrow` is the end of `wide`. */
#define KEY(wide, narrow)                                                                          \
    "vle8.v " narrow ", (%[k])\n"                                                                  \
    "addi %[k], %[k], 64\n"                                                                        \
    "vsext.vf2 " wide ", " narrow "\n"

#define DOT_1(d, wide) "lb t0, " d "(%[q0])\n vwmacc.vx v0, t0, " wide "\n"
#define DOT_2(d, wide)                                                                             \
    "lb t0, " d "(%[q0])\n lb t1, " d "(%[q1])\n"                                                  \
    "vwmacc.vx v0, t0, " wide "\n vwmacc.vx v8, t1, " wide "\n"
#define DOT_3(d, wide)                                                                             \
    "lb t0, " d "(%[q0])\n lb t1, " d "(%[q1])\n lb t2, " d "(%[q2])\n"                            \
    "vwmacc.vx v0, t0, " wide "\n vwmacc.vx v8, t1, " wide "\n vwmacc.vx v16, t2, " wide "\n"

#define DOT_PAIR(DOT, d0, d1) KEY("v24", "v26") KEY("v28", "v30") DOT(d0, "v24") DOT(d1, "v28")

#define FLOATS "vsetvli zero, %[vl], e32, m8, ta, ma\n"

/* %[q0] ends at %[end]. */
#define DOT_LOOP(DOT, ADVANCE)                                                                     \
    "vsetvli zero, %[vl], e16, m4, ta, ma\n"                                                       \
    "1:\n" DOT_PAIR(DOT, "0", "1") DOT_PAIR(DOT, "2", "3") DOT_PAIR(DOT, "4", "5")                 \
        DOT_PAIR(DOT, "6", "7") ADVANCE "addi %[q0], %[q0], 8\n"                                   \
                                        "bne %[q0], %[end], 1b\n" FLOATS

/* out = sum * (scale * key_scales) */
#define SCORE(sum, scale, out)                                                                     \
    "vle32.v v24, (%[key_scales])\n"                                                               \
    "vfcvt.f.x.v " sum ", " sum "\n"                                                               \
    "vfmul.vf v24, v24, " scale "\n"                                                               \
    "vfmul.vv " sum ", " sum ", v24\n"                                                             \
    "vse32.v " sum ", (" out ")\n"

static void score_1(const int8_t *q, const float *scales, const int8_t *k, const float *key_scales,
                    size_t head_dim, size_t vl, float *out)
{
    const int8_t *q0 = q, *end = q + head_dim;
    __asm__ volatile(FLOATS "vmv.v.i v0, 0\n" DOT_LOOP(DOT_1, "") SCORE("v0", "%[s0]", "%[out]")
                     : [q0] "+&r"(q0), [k] "+&r"(k)
                     : [end] "r"(end), [vl] "r"(vl), [key_scales] "r"(key_scales), [out] "r"(out),
                       [s0] "f"(scales[0])
                     : "t0", RVV_CLOBBERS);
}

static void score_2(const int8_t *q, const float *scales, const int8_t *k, const float *key_scales,
                    size_t head_dim, size_t vl, float *out)
{
    const int8_t *q0 = q, *end = q + head_dim, *q1 = end;
    __asm__ volatile(FLOATS "vmv.v.i v0, 0\n"
                            "vmv.v.i v8, 0\n" DOT_LOOP(DOT_2, "addi %[q1], %[q1], 8\n") /**/
                     SCORE("v0", "%[s0]", "%[out]") SCORE("v8", "%[s1]", "%[out1]")
                     : [q0] "+&r"(q0), [q1] "+&r"(q1), [k] "+&r"(k)
                     : [end] "r"(end), [vl] "r"(vl), [key_scales] "r"(key_scales), [out] "r"(out),
                       [out1] "r"(out + STRIDE), [s0] "f"(scales[0]), [s1] "f"(scales[1])
                     : "t0", "t1", RVV_CLOBBERS);
}

static void score_3(const int8_t *q, const float *scales, const int8_t *k, const float *key_scales,
                    size_t head_dim, size_t vl, float *out)
{
    const int8_t *q0 = q, *end = q + head_dim, *q1 = end, *q2 = end + head_dim;
    __asm__ volatile(FLOATS "vmv.v.i v0, 0\n"
                            "vmv.v.i v8, 0\n"
                            "vmv.v.i v16, 0\n" /**/
                     DOT_LOOP(DOT_3, "addi %[q1], %[q1], 8\n addi %[q2], %[q2], 8\n")
                         SCORE("v0", "%[s0]", "%[out]") SCORE("v8", "%[s1]", "%[out1]")
                             SCORE("v16", "%[s2]", "%[out2]")
                     : [q0] "+&r"(q0), [q1] "+&r"(q1), [q2] "+&r"(q2), [k] "+&r"(k)
                     : [end] "r"(end), [vl] "r"(vl), [key_scales] "r"(key_scales), [out] "r"(out),
                       [out1] "r"(out + STRIDE), [out2] "r"(out + 2 * STRIDE), [s0] "f"(scales[0]),
                       [s1] "f"(scales[1]), [s2] "f"(scales[2])
                     : "t0", "t1", "t2", RVV_CLOBBERS);
}

void rvv_score_i8(const int8_t *q, const float *scales, uint32_t heads, const int8_t *k,
                  const float *key_scales, uint32_t head_dim, uint32_t count, float *out)
{
    size_t vl;
    for (size_t j = 0; j < count; j += vl) {
        vl = strip(count - j);
        if (heads == 1)
            score_1(q, scales, k + j, key_scales + j, head_dim, vl, out + j);
        else if (heads == 2)
            score_2(q, scales, k + j, key_scales + j, head_dim, vl, out + j);
        else
            score_3(q, scales, k + j, key_scales + j, head_dim, vl, out + j);
    }
}

void rvv_dot_f32(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out)
{
    for (uint32_t j = 0; j < count; j++, k += head_dim) {
        vfloat32m8_t lanes = __riscv_vfmv_v_f_f32m8(0.0f, 32);
        for (uint32_t d = 0; d < head_dim; d += 32) {
            size_t vl = head_dim - d < 32 ? head_dim - d : 32;
            vfloat32m8_t a = __riscv_vle32_v_f32m8(q + d, vl);
            lanes = __riscv_vfmacc_vv_f32m8_tu(lanes, a, __riscv_vle32_v_f32m8(k + d, vl), vl);
        }
        out[j] = rvv_fold(lanes);
    }
}

/* ---- weights ---- */

/* The sum of a head's `count` weights, which are then multiplied by `scales`. */
static inline float sum_and_scale(float *x, size_t count, const float *scales)
{
    vfloat32m8_t lanes = __riscv_vfmv_v_f_f32m8(0.0f, 32);
    for (size_t j = 0; j < count; j += 32) {
        size_t vl = count - j < 32 ? count - j : 32;
        vfloat32m8_t w = __riscv_vle32_v_f32m8(x + j, vl);
        lanes = __riscv_vfadd_vv_f32m8_tu(lanes, lanes, w, vl);
        if (scales)
            w = __riscv_vfmul_vv_f32m8(w, __riscv_vle32_v_f32m8(scales + j, vl), vl);
        __riscv_vse32_v_f32m8(x + j, w, vl);
    }
    return rvv_fold(lanes);
}

void rvv_softmax(float *x, uint32_t heads, uint32_t count, const float *scales, float *max,
                 float *sum)
{
    size_t vl;
    for (uint32_t h = 0; h < heads; h++, x += STRIDE) {
        vfloat32m1_t most = __riscv_vfmv_s_f_f32m1(max[h], 1);
        for (size_t j = 0; j < count; j += vl) {
            vl = __riscv_vsetvl_e32m8(count - j);
            most = __riscv_vfredmax_vs_f32m8_f32m1(__riscv_vle32_v_f32m8(x + j, vl), most, vl);
        }
        max[h] = __riscv_vfmv_f_s_f32m1_f32(most);
        for (size_t j = 0; j < count; j += vl) {
            vl = __riscv_vsetvl_e32m8(count - j);
            vfloat32m8_t v = __riscv_vfsub_vf_f32m8(__riscv_vle32_v_f32m8(x + j, vl), max[h], vl);
            __riscv_vse32_v_f32m8(x + j, rvv_exp_m8(v, vl), vl);
        }
        sum[h] = sum_and_scale(x, count, scales);
    }
}

/* ---- values ---- */

/* v24 = the next position's values, as floats. */
#define VALUE                                                                                      \
    "vle8.v v30, (%[v])\n"                                                                         \
    "add %[v], %[v], %[head_dim]\n"                                                                \
    "vsext.vf4 v24, v30\n"

#define AXPY_1(p0, p1, p2)                                                                         \
    VALUE "flw ft0, " p0 "(%[p])\n"                                                                \
          "vfcvt.f.x.v v24, v24\n vfmacc.vf v0, ft0, v24\n"
#define AXPY_2(p0, p1, p2)                                                                         \
    VALUE "flw ft0, " p0 "(%[p])\n flw ft1, " p1 "(%[p])\n"                                        \
          "vfcvt.f.x.v v24, v24\n vfmacc.vf v0, ft0, v24\n vfmacc.vf v8, ft1, v24\n"
#define AXPY_3(p0, p1, p2)                                                                         \
    VALUE "flw ft0, " p0 "(%[p])\n flw ft1, " p1 "(%[p])\n flw ft2, " p2 "(%[p])\n"                \
          "vfcvt.f.x.v v24, v24\n vfmacc.vf v0, ft0, v24\n vfmacc.vf v8, ft1, v24\n"               \
          "vfmacc.vf v16, ft2, v24\n"

/* Positions one by one up to %[mid], then by fours up to %[end]. */
#define AXPY_LOOP(AXPY)                                                                            \
    "beq %[p], %[mid], 2f\n"                                                                       \
    "1:\n" AXPY("0", "256", "512") "addi %[p], %[p], 4\n"                                          \
                                   "bne %[p], %[mid], 1b\n"                                        \
                                   "2: beq %[p], %[end], 4f\n"                                     \
                                   "3:\n" AXPY("0", "256", "512") AXPY("4", "260", "516")          \
                                       AXPY("8", "264", "520")                                     \
                                           AXPY("12", "268", "524") "addi %[p], %[p], 16\n"        \
                                                                    "bne %[p], %[end], 3b\n"       \
                                                                    "4:\n"

_Static_assert(STRIDE == 64, "256 bytes from head to head of the weights");

static void axpy_1(const float *p, size_t count, const int8_t *v, size_t head_dim, size_t vl,
                   float *acc)
{
    const float *mid = p + count % 4, *end = p + count;
    __asm__ volatile(
        FLOATS "vle32.v v0, (%[a0])\n" AXPY_LOOP(AXPY_1) "vse32.v v0, (%[a0])\n"
        : [p] "+&r"(p), [v] "+&r"(v)
        : [vl] "r"(vl), [mid] "r"(mid), [end] "r"(end), [head_dim] "r"(head_dim), [a0] "r"(acc)
        : "ft0", RVV_CLOBBERS);
}

static void axpy_2(const float *p, size_t count, const int8_t *v, size_t head_dim, size_t vl,
                   float *acc, size_t stride)
{
    const float *mid = p + count % 4, *end = p + count;
    __asm__ volatile(FLOATS "vle32.v v0, (%[a0])\n"
                            "vle32.v v8, (%[a1])\n" AXPY_LOOP(AXPY_2) /**/
                     "vse32.v v0, (%[a0])\n"
                     "vse32.v v8, (%[a1])\n"
                     : [p] "+&r"(p), [v] "+&r"(v)
                     : [vl] "r"(vl), [mid] "r"(mid), [end] "r"(end), [head_dim] "r"(head_dim),
                       [a0] "r"(acc), [a1] "r"(acc + stride)
                     : "ft0", "ft1", RVV_CLOBBERS);
}

static void axpy_3(const float *p, size_t count, const int8_t *v, size_t head_dim, size_t vl,
                   float *acc, size_t stride)
{
    const float *mid = p + count % 4, *end = p + count;
    __asm__ volatile(FLOATS "vle32.v v0, (%[a0])\n"
                            "vle32.v v8, (%[a1])\n"
                            "vle32.v v16, (%[a2])\n" AXPY_LOOP(AXPY_3) /**/
                     "vse32.v v0, (%[a0])\n"
                     "vse32.v v8, (%[a1])\n"
                     "vse32.v v16, (%[a2])\n"
                     : [p] "+&r"(p), [v] "+&r"(v)
                     : [vl] "r"(vl), [mid] "r"(mid), [end] "r"(end), [head_dim] "r"(head_dim),
                       [a0] "r"(acc), [a1] "r"(acc + stride), [a2] "r"(acc + 2 * stride)
                     : "ft0", "ft1", "ft2", RVV_CLOBBERS);
}

void rvv_axpy_i8(const float *p, uint32_t heads, const int8_t *v, uint32_t head_dim, uint32_t count,
                 float *acc, uint32_t acc_stride)
{
    size_t vl;
    for (size_t d = 0; d < head_dim; d += vl) {
        vl = strip(head_dim - d);
        if (heads == 1)
            axpy_1(p, count, v + d, head_dim, vl, acc + d);
        else if (heads == 2)
            axpy_2(p, count, v + d, head_dim, vl, acc + d, acc_stride);
        else
            axpy_3(p, count, v + d, head_dim, vl, acc + d, acc_stride);
    }
}

void rvv_axpy_f32(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc)
{
    size_t vl;
    for (uint32_t d = 0; d < head_dim; d += (uint32_t)vl) {
        vl = __riscv_vsetvl_e32m8(head_dim - d);
        vfloat32m8_t sum = __riscv_vle32_v_f32m8(acc + d, vl);
        for (uint32_t j = 0; j < count; j++) {
            vfloat32m8_t f = __riscv_vle32_v_f32m8(v + j * head_dim + d, vl);
            sum = __riscv_vfmacc_vf_f32m8(sum, p[j], f, vl);
        }
        __riscv_vse32_v_f32m8(acc + d, sum, vl);
    }
}

#endif
