/* SPDX-License-Identifier: Apache-2.0 */

/* Scores and values of one page and one KV head: positions are lanes for int8 keys, dimensions for
 * values; f32 keys follow the 32 lanes of docs/numerics.md.
 *
 * Queries share the loads and conversions of keys and values. With three of them the sums take 24
 * registers and a strip of keys or values the other 8, so the int8 loops are in assembly: v0, v8
 * and v16 are the queries' sums. Their vtype never changes within a loop.
 *
 * Queries are packed by threes as int8 [head_dim][queries], weights as int16 [queries][64].
 */

#include "common/math.h"
#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

#include "kernels/rvv/fold.h"
#include "kernels/rvv/functions.h"
#include "kernels/rvv/registers.h"

#define STRIDE KERNEL_TILE /* of scores and weights, from query to query */
#define LANES  32u         /* of a sum */

#define INLINE static inline __attribute__((always_inline))

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

/* ---- bytes ----
 *
 * The next two steps of %[bytes], dimensions of keys or positions of values, in 16 bits in v24 and
 * v28. Where 64 lanes are four registers, at VLEN 256, one load brings both steps.
 */

#define STEP(wide, narrow)                                                                         \
    "vle8.v " narrow ", (%[bytes])\n"                                                              \
    "add %[bytes], %[bytes], %[step]\n"                                                            \
    "vsext.vf2 " wide ", " narrow "\n"

#define STEPS_STRIP STEP("v24", "v26") STEP("v28", "v30")

#define STEPS_WHOLE                                                                                \
    "vl4re8.v v28, (%[bytes])\n"                                                                   \
    "add %[bytes], %[bytes], %[step]\n"                                                            \
    "vsext.vf2 v24, v28\n"                                                                         \
    "vsext.vf2 v28, v30\n"

/* Whether steps of so many bytes are taken whole. */
static inline int whole(size_t width)
{
    size_t vlenb;
    __asm__("csrr %0, vlenb" : "=r"(vlenb));
    return width == KERNEL_TILE && vlenb == KERNEL_TILE / 2;
}

#define FLOATS "vsetvli zero, %[vl], e32, m8, ta, ma\n"
#define WORDS  "vsetvli zero, %[vl], e16, m4, ta, ma\n"

/* ---- scores ---- */

/* Dimension d of `n` queries, which stand together at %[q], times keys. */
#define DOT(sum, t, at, wide) "lb " t ", " at "(%[q])\n vwmacc.vx " sum ", " t ", " wide "\n"
#define DOT_1(d, wide)        DOT("v0", "t0", #d, wide)
#define DOT_2(d, wide)        DOT("v0", "t0", "2*" #d, wide) DOT("v8", "t1", "2*" #d "+1", wide)
#define DOT_3(d, wide)                                                                             \
    DOT("v0", "t0", "3*" #d, wide)                                                                 \
    DOT("v8", "t1", "3*" #d "+1", wide) DOT("v16", "t2", "3*" #d "+2", wide)

/* %[q] ends at %[end]. */
#define DOT_LOOP(DOTS, STEPS, n)                                                                   \
    WORDS "1:\n" STEPS DOTS(0, "v24") DOTS(1, "v28") STEPS DOTS(2, "v24") DOTS(3, "v28")           \
        STEPS DOTS(4, "v24") DOTS(5, "v28") STEPS DOTS(6, "v24")                                   \
            DOTS(7, "v28") "addi %[q], %[q], 8*" #n "\n"                                           \
                           "bne %[q], %[end], 1b\n" FLOATS

/* out = sum * (scale * key_scales) */
#define SCORE(sum, scale, out)                                                                     \
    "vle32.v v24, (%[key_scales])\n"                                                               \
    "vfcvt.f.x.v " sum ", " sum "\n"                                                               \
    "vfmul.vf v24, v24, " scale "\n"                                                               \
    "vfmul.vv " sum ", " sum ", v24\n"                                                             \
    "vse32.v " sum ", (" out ")\n"

struct scores {
    const int8_t *q, *end; /* [head_dim][queries] */
    const float *scales, *key_scales;
    size_t step, vl;
    float *out;
};

#define SCORE_OPERANDS                                                                             \
    [end] "r"(s.end), [vl] "r"(s.vl), [step] "r"(s.step), [key_scales] "r"(s.key_scales),          \
        [out] "r"(s.out), [s0] "f"(s.scales[0])

/* One, two or three queries and a strip of keys. */
#define SCORE_FUNCTION(name, STEPS)                                                                \
    INLINE void name(uint32_t queries, struct scores s, const int8_t *bytes)                       \
    {                                                                                              \
        if (queries == 1)                                                                          \
            __asm__ volatile(FLOATS "vmv.v.i v0, 0\n" DOT_LOOP(DOT_1, STEPS, 1)                    \
                                 SCORE("v0", "%[s0]", "%[out]")                                    \
                             : [q] "+&r"(s.q), [bytes] "+&r"(bytes)                                \
                             : SCORE_OPERANDS                                                      \
                             : "t0", RVV_CLOBBERS);                                                \
        else if (queries == 2)                                                                     \
            __asm__ volatile(FLOATS "vmv.v.i v0, 0\n vmv.v.i v8, 0\n" DOT_LOOP(DOT_2, STEPS, 2)    \
                                 SCORE("v0", "%[s0]", "%[out]") SCORE("v8", "%[s1]", "%[out1]")    \
                             : [q] "+&r"(s.q), [bytes] "+&r"(bytes)                                \
                             : SCORE_OPERANDS, [out1] "r"(s.out + STRIDE), [s1] "f"(s.scales[1])   \
                             : "t0", "t1", RVV_CLOBBERS);                                          \
        else                                                                                       \
            __asm__ volatile(                                                                      \
                FLOATS                                                                             \
                "vmv.v.i v0, 0\n vmv.v.i v8, 0\n vmv.v.i v16, 0\n" DOT_LOOP(DOT_3, STEPS, 3)       \
                    SCORE("v0", "%[s0]", "%[out]") SCORE("v8", "%[s1]", "%[out1]")                 \
                        SCORE("v16", "%[s2]", "%[out2]")                                           \
                : [q] "+&r"(s.q), [bytes] "+&r"(bytes)                                             \
                : SCORE_OPERANDS, [out1] "r"(s.out + STRIDE), [out2] "r"(s.out + 2 * STRIDE),      \
                  [s1] "f"(s.scales[1]), [s2] "f"(s.scales[2])                                     \
                : "t0", "t1", "t2", RVV_CLOBBERS);                                                 \
    }

SCORE_FUNCTION(score_strip, STEPS_STRIP)
SCORE_FUNCTION(score_steps, STEPS_WHOLE)

static __attribute__((noinline)) void score_whole(uint32_t queries, const int8_t *q,
                                                  const int8_t *end, const float *scales,
                                                  const float *key_scales, const int8_t *k,
                                                  float *out)
{
    struct scores s = {q, end, scales, key_scales, 2 * KERNEL_TILE, KERNEL_TILE, out};
    score_steps(queries, s, k);
}

static __attribute__((noinline)) void score_strips(const int8_t *q, const float *scales,
                                                   uint32_t queries, const int8_t *k,
                                                   const float *key_scales, uint32_t head_dim,
                                                   uint32_t count, float *out)
{
    const int8_t *next;
    for (uint32_t h = 0, n; h < queries; h += n, q = next, scales += n, out += n * STRIDE) {
        n = queries - h < 3 ? queries - h : 3;
        next = q + n * head_dim;
        struct scores s = {q, next, scales, key_scales, KERNEL_TILE, 0, out};
        for (size_t j = 0; j < count; j += s.vl, s.out += s.vl, s.key_scales += s.vl) {
            s.vl = strip(KERNEL_TILE - j);
            score_strip(n, s, k + j);
        }
    }
}

/* By threes: [head_dim][queries]. */
void rvv_pack_queries(const int8_t *q, uint32_t queries, uint32_t head_dim, void *packed)
{
    int8_t *to = packed;
    for (uint32_t h = 0, n; h < queries; h += n, to += n * head_dim) {
        n = queries - h < 3 ? queries - h : 3;
        for (uint32_t i = 0; i < n; i++, q += head_dim)
            for (size_t d = 0, vl; d < head_dim; d += vl) {
                vl = __riscv_vsetvl_e8m8(head_dim - d);
                __riscv_vsse8_v_i8m8(to + d * n + i, n, __riscv_vle8_v_i8m8(q + d, vl), vl);
            }
    }
}

void rvv_score_i8(const void *packed, const float *scales, uint32_t queries, const int8_t *k,
                  const float *key_scales, uint32_t head_dim, uint32_t count, float *out)
{
    const int8_t *q = packed;
    int once = whole(KERNEL_TILE);
    for (; once && queries > 3; queries -= 3, q += 3 * head_dim, scales += 3, out += 3 * STRIDE)
        score_whole(3, q, q + 3 * head_dim, scales, key_scales, k, out);
    if (once)
        score_whole(queries, q, q + queries * head_dim, scales, key_scales, k, out);
    else
        score_strips(q, scales, queries, k, key_scales, head_dim, count, out);
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

/* -inf for the positions from `count` on. */
static inline void hide(float *x, size_t count)
{
    for (size_t j = count, vl; j < STRIDE; j += vl) {
        vl = __riscv_vsetvl_e32m8(STRIDE - j);
        __riscv_vse32_v_f32m8(x + j, __riscv_vfmv_v_f_f32m8(-__builtin_inff(), vl), vl);
    }
}

/* x becomes exp2(x - max), all 64 of it; the sum is returned. */
static inline float softmax(float *x, float *max)
{
    vfloat32m1_t most = __riscv_vfmv_s_f_f32m1(*max, 1);
    for (size_t j = 0; j < STRIDE; j += LANES)
        most = __riscv_vfredmax_vs_f32m8_f32m1(__riscv_vle32_v_f32m8(x + j, LANES), most, LANES);
    *max = __riscv_vfmv_f_s_f32m1_f32(most);
    for (size_t j = 0; j < STRIDE; j += LANES) {
        vfloat32m8_t v = __riscv_vfsub_vf_f32m8(__riscv_vle32_v_f32m8(x + j, LANES), *max, LANES);
        __riscv_vse32_v_f32m8(x + j, rvv_exp2(v, LANES), LANES);
    }
    return rvv_fold(__riscv_vfadd_vv_f32m8(__riscv_vle32_v_f32m8(x, LANES),
                                           __riscv_vle32_v_f32m8(x + LANES, LANES), LANES));
}

void rvv_softmax(float *x, uint32_t queries, uint32_t count, float *max, float *sum)
{
    for (uint32_t h = 0; h < queries; h++, x += STRIDE) {
        hide(x, count);
        sum[h] = softmax(x, &max[h]);
    }
}

/* r times the last polynomial, plus the next coefficient, in `to`. */
#define HORNER(to, from, coefficient)                                                              \
    "vmv.v.x " to ", " coefficient "\n vfmacc.vv " to ", " from ", v8\n"
#define FOLD(lanes) "vslidedown.vi v28, v24, " lanes "\n vfadd.vv v24, v24, v28\n"

/* One query where 64 lanes are one group of registers: math_exp2() in v16, which compilers spill a
 * group for, times scales in v8. Both sums are folded as one: from 16 lanes each on they are lanes
 * 0 to 15 and 16 to 31 of v24. */
INLINE void weigh_whole(const float *x, const float *scales, float *max, float *sum, float *factor,
                        int16_t *to)
{
    float most = *max, weights, total, inverse;
    __asm__ volatile(
        "vsetvli zero, %[whole], e32, m8, ta, ma\n"
        "vle32.v v8, (%[x])\n"
        "vfmv.s.f v0, %[most]\n"
        "vfredmax.vs v0, v8, v0\n"
        "vfmv.f.s %[most], v0\n"
        "vfsub.vf v8, v8, %[most]\n"
        "vfmax.vf v8, v8, %[least]\n"
        "vfadd.vf v16, v8, %[magic]\n"
        "vfsub.vf v24, v16, %[magic]\n"
        "vfsub.vv v8, v8, v24\n"
        "vmv.v.x v24, %[c4]\n"
        "vfmacc.vf v24, %[c5], v8\n" HORNER("v0", "v24", "%[c3]") HORNER("v24", "v0", "%[c2]")
            HORNER("v0", "v24", "%[c1]") HORNER(
                "v24", "v0",
                "%[c0]") "vsll.vi v16, v16, 23\n"
                         "vadd.vv v16, v16, v24\n"
                         "vle32.v v8, (%[scales])\n"
                         "vfmul.vv v8, v16, v8\n"
                         "vfmax.vf v8, v8, %[zero]\n"
                         "vslidedown.vx v24, v16, %[half]\n"
                         "vslidedown.vx v0, v8, %[half]\n"
                         "vsetvli zero, %[half], e32, m4, ta, ma\n"
                         "vfadd.vv v24, v16, v24\n"
                         "vfadd.vv v0, v8, v0\n" FOLD(
                             "16") "vslidedown.vi v4, v0, 16\n"
                                   "vfadd.vv v0, v0, v4\n"
                                   "vslideup.vi v24, v0, 16\n" FOLD("8") FOLD("4") FOLD("2") FOLD(
                                       "1") "vslidedown.vi v28, v24, 16\n"
                                            "vfmv.f.s %[weights], v24\n"
                                            "vfmv.f.s %[total], v28\n"
                                            "vsetvli zero, %[whole], e32, m8, ta, ma\n"
                                            "fdiv.s %[inverse], %[unit], %[total]\n"
                                            "fclass.s t0, %[total]\n"
                                            "andi t0, t0, 0x40\n" /* a positive normal number */
                                            "beqz t0, 1f\n"
                                            "fle.s t0, %[tiny], %[total]\n"
                                            "bnez t0, 2f\n"
                                            "1: vmv.v.i v8, 0\n"
                                            "fmv.w.x %[inverse], zero\n"
                                            "2: vfmul.vf v8, v8, %[inverse]\n"
                                            "vsetvli zero, zero, e16, m4, ta, ma\n"
                                            "vfncvt.x.f.w v16, v8\n"
                                            "vse16.v v16, (%[to])\n"
        :
        [most] "+f"(most), [weights] "=&f"(weights), [total] "=&f"(total), [inverse] "=&f"(inverse)
        : [x] "r"(x), [scales] "r"(scales), [to] "r"(to), [whole] "r"(STRIDE), [half] "r"(LANES),
          [least] "f"(-127.0f), [magic] "f"(12582912.0f), [zero] "f"(0.0f),
          [unit] "f"(KERNEL_WEIGHT_SUM), [tiny] "f"(KERNEL_WEIGHT_LEAST), [c5] "f"(MATH_EXP2_5),
          [c4] "r"(math_to_bits(MATH_EXP2_4)), [c3] "r"(math_to_bits(MATH_EXP2_3)),
          [c2] "r"(math_to_bits(MATH_EXP2_2)), [c1] "r"(math_to_bits(MATH_EXP2_1)),
          [c0] "r"(math_to_bits(1.0f))
        : "t0", RVV_CLOBBERS);
    *max = most;
    *sum = weights;
    *factor = total * (1.0f / KERNEL_WEIGHT_SUM);
}

/* The next lanes times scales, 0 where that is not above 0. */
static inline vfloat32m8_t scaled(const float *x, const float *scales)
{
    vfloat32m8_t t = __riscv_vle32_v_f32m8(x, LANES);
    t = __riscv_vfmul_vv_f32m8(t, __riscv_vle32_v_f32m8(scales, LANES), LANES);
    return __riscv_vfmax_vf_f32m8(t, 0.0f, LANES);
}

/* Where they are two. */
static void weigh_halves(float *x, const float *scales, float *max, float *sum, float *factor,
                         int16_t *to)
{
    *sum = softmax(x, max);
    vfloat32m8_t low = scaled(x, scales), high = scaled(x + LANES, scales + LANES);
    float total = rvv_fold(__riscv_vfadd_vv_f32m8(low, high, LANES));
    float inverse = KERNEL_WEIGHT_SUM / total;
    *factor = total * (1.0f / KERNEL_WEIGHT_SUM);
    if (!kernel_weighable(total)) {
        low = high = __riscv_vfmv_v_f_f32m8(0.0f, LANES);
        inverse = 0.0f;
    }
    low = __riscv_vfmul_vf_f32m8(low, inverse, LANES);
    high = __riscv_vfmul_vf_f32m8(high, inverse, LANES);
    __riscv_vse16_v_i16m4(to, __riscv_vfncvt_x_f_w_i16m4(low, LANES), LANES);
    __riscv_vse16_v_i16m4(to + LANES, __riscv_vfncvt_x_f_w_i16m4(high, LANES), LANES);
}

void rvv_weigh_i8(float *x, uint32_t queries, uint32_t count, const float *scales, float *max,
                  float *sum, void *weights, float *factors)
{
    int16_t *to = weights;
    int once = __riscv_vsetvlmax_e32m8() >= STRIDE;
    for (uint32_t h = 0; h < queries; h++, x += STRIDE, to += STRIDE) {
        hide(x, count);
        if (once)
            weigh_whole(x, scales, &max[h], &sum[h], &factors[h], to);
        else
            weigh_halves(x, scales, &max[h], &sum[h], &factors[h], to);
    }
}

/* ---- values ---- */

/* The weight of a query at %[w] + offset, times a position's values. */
#define WEIGH(sum, t, offset, wide)                                                                \
    "lh " t ", " offset "(%[w])\n vwmacc.vx " sum ", " t ", " wide "\n"
#define WEIGH_1(wide, o0, o1, o2) WEIGH("v0", "t0", o0, wide)
#define WEIGH_2(wide, o0, o1, o2) WEIGH_1(wide, o0, o1, o2) WEIGH("v8", "t1", o1, wide)
#define WEIGH_3(wide, o0, o1, o2) WEIGH_2(wide, o0, o1, o2) WEIGH("v16", "t2", o2, wide)

/* Positions by eights; %[w] ends at %[end]. */
#define WEIGH_LOOP(WEIGHTS, STEPS)                                                                 \
    WORDS "1:\n" STEPS WEIGHTS("v24", "0", "128", "256") WEIGHTS("v28", "2", "130", "258")         \
        STEPS WEIGHTS("v24", "4", "132", "260") WEIGHTS("v28", "6", "134", "262")                  \
            STEPS WEIGHTS("v24", "8", "136", "264") WEIGHTS("v28", "10", "138", "266")             \
                STEPS WEIGHTS("v24", "12", "140", "268")                                           \
                    WEIGHTS("v28", "14", "142", "270") "addi %[w], %[w], 16\n"                     \
                                                       "bne %[w], %[end], 1b\n" FLOATS

_Static_assert(STRIDE == 64, "128 bytes from query to query of the weights");

/* acc = (float)sum * factor + acc * keep */
#define VALUES_STORE(sum, factor, keep, acc)                                                       \
    "vle32.v v24, (" acc ")\n"                                                                     \
    "vfcvt.f.x.v " sum ", " sum "\n"                                                               \
    "vfmul.vf v24, v24, " keep "\n"                                                                \
    "vfmacc.vf v24, " factor ", " sum "\n"                                                         \
    "vse32.v v24, (" acc ")\n"

struct values {
    const int16_t *w, *end; /* of the first query: [queries][64] */
    const float *factors, *keep;
    size_t step, vl;
    float *acc;
    size_t acc_stride;
};

#define VALUES_OPERANDS                                                                            \
    [vl] "r"(s.vl), [end] "r"(s.end), [step] "r"(s.step), [a0] "r"(s.acc), [f0] "f"(s.factors[0]), \
        [k0] "f"(s.keep[0])

/* One, two or three queries and a strip of dimensions. */
#define VALUES_FUNCTION(name, STEPS)                                                               \
    INLINE void name(uint32_t queries, struct values s, const int8_t *bytes)                       \
    {                                                                                              \
        if (queries == 1)                                                                          \
            __asm__ volatile(FLOATS "vmv.v.i v0, 0\n" WEIGH_LOOP(WEIGH_1, STEPS)                   \
                                 VALUES_STORE("v0", "%[f0]", "%[k0]", "%[a0]")                     \
                             : [w] "+&r"(s.w), [bytes] "+&r"(bytes)                                \
                             : VALUES_OPERANDS                                                     \
                             : "t0", RVV_CLOBBERS);                                                \
        else if (queries == 2)                                                                     \
            __asm__ volatile(FLOATS "vmv.v.i v0, 0\n vmv.v.i v8, 0\n" WEIGH_LOOP(WEIGH_2, STEPS)   \
                                 VALUES_STORE("v0", "%[f0]", "%[k0]", "%[a0]")                     \
                                     VALUES_STORE("v8", "%[f1]", "%[k1]", "%[a1]")                 \
                             : [w] "+&r"(s.w), [bytes] "+&r"(bytes)                                \
                             : VALUES_OPERANDS, [a1] "r"(s.acc + s.acc_stride),                    \
                               [f1] "f"(s.factors[1]), [k1] "f"(s.keep[1])                         \
                             : "t0", "t1", RVV_CLOBBERS);                                          \
        else                                                                                       \
            __asm__ volatile(FLOATS "vmv.v.i v0, 0\n vmv.v.i v8, 0\n vmv.v.i v16, 0\n" WEIGH_LOOP( \
                                 WEIGH_3, STEPS) VALUES_STORE("v0", "%[f0]", "%[k0]", "%[a0]")     \
                                 VALUES_STORE("v8", "%[f1]", "%[k1]", "%[a1]")                     \
                                     VALUES_STORE("v16", "%[f2]", "%[k2]", "%[a2]")                \
                             : [w] "+&r"(s.w), [bytes] "+&r"(bytes)                                \
                             : VALUES_OPERANDS, [a1] "r"(s.acc + s.acc_stride),                    \
                               [a2] "r"(s.acc + 2 * s.acc_stride), [f1] "f"(s.factors[1]),         \
                               [f2] "f"(s.factors[2]), [k1] "f"(s.keep[1]), [k2] "f"(s.keep[2])    \
                             : "t0", "t1", "t2", RVV_CLOBBERS);                                    \
    }

VALUES_FUNCTION(values_strip, STEPS_STRIP)
VALUES_FUNCTION(values_steps, STEPS_WHOLE)

static __attribute__((noinline)) void values_whole(uint32_t queries, const int16_t *w,
                                                   const int16_t *end, const float *factors,
                                                   const float *keep, const int8_t *v, float *acc,
                                                   size_t acc_stride)
{
    struct values s = {w, end, factors, keep, 2 * KERNEL_TILE, KERNEL_TILE, acc, acc_stride};
    values_steps(queries, s, v);
}

static __attribute__((noinline)) void values_strips(const int16_t *w, const float *factors,
                                                    const float *keep, uint32_t queries,
                                                    const int8_t *v, uint32_t head_dim,
                                                    uint32_t steps, float *acc, size_t acc_stride)
{
    for (uint32_t h = 0, n; h < queries; h += n, w += n * STRIDE, acc += n * acc_stride) {
        n = queries - h < 3 ? queries - h : 3;
        struct values s = {w, w + steps, factors + h, keep + h, head_dim, 0, acc, acc_stride};
        for (size_t d = 0; d < head_dim; d += s.vl, s.acc += s.vl) {
            s.vl = strip(head_dim - d);
            values_strip(n, s, v + d);
        }
    }
}

void rvv_values_i8(const void *weights, const float *factors, const float *keep, uint32_t queries,
                   const int8_t *v, uint32_t head_dim, uint32_t count, float *acc,
                   uint32_t acc_stride)
{
    const int16_t *w = weights;
    size_t stride = acc_stride;
    uint32_t steps = (count + 7) / 8 * 8; /* weights behind `count` are 0 */
    int once = whole(head_dim);
    for (; once && queries > 3; queries -= 3, w += 3 * STRIDE, acc += 3 * stride) {
        values_whole(3, w, w + steps, factors, keep, v, acc, stride);
        factors += 3;
        keep += 3;
    }
    if (once)
        values_whole(queries, w, w + steps, factors, keep, v, acc, stride);
    else
        values_strips(w, factors, keep, queries, v, head_dim, steps, acc, stride);
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
