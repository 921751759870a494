/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_RVV_FUNCTIONS_H
#define KERNELS_RVV_FUNCTIONS_H

/* The functions of common/math.h, lane by lane, the same bits. exp holds four values at a time,
 * which may take eight registers each; the others take four, or they would spill. */

#include <riscv_vector.h>

#include "common/math.h"

#define RVV_INLINE static inline __attribute__((always_inline))

/* For M registers a value: q * x + c for a vector q and a constant c; 2^n for n in -126..127; exp
 * as p * 2^n, and whole. */
#define RVV_EXP(M)                                                                                 \
    RVV_INLINE vfloat32##M##_t rvv_horner_##M(vfloat32##M##_t q, vfloat32##M##_t x, float c,       \
                                              size_t vl)                                           \
    {                                                                                              \
        return __riscv_vfmadd_vv_f32##M(q, x, __riscv_vfmv_v_f_f32##M(c, vl), vl);                 \
    }                                                                                              \
    RVV_INLINE vfloat32##M##_t rvv_exp2_int_##M(vint32##M##_t n, size_t vl)                        \
    {                                                                                              \
        n = __riscv_vsll_vx_i32##M(__riscv_vadd_vx_i32##M(n, 127, vl), 23, vl);                    \
        return __riscv_vreinterpret_v_i32##M##_f32##M(n);                                          \
    }                                                                                              \
    RVV_INLINE vfloat32##M##_t rvv_exp_parts_##M(vfloat32##M##_t x, vint32##M##_t *exponent,       \
                                                 size_t vl)                                        \
    {                                                                                              \
        *exponent =                                                                                \
            __riscv_vfcvt_x_f_v_i32##M(__riscv_vfmul_vf_f32##M(x, 0x1.715476p+0f, vl), vl);        \
        vfloat32##M##_t n = __riscv_vfcvt_f_x_v_f32##M(*exponent, vl);                             \
        vfloat32##M##_t r = __riscv_vfmacc_vf_f32##M(x, -0x1.62e430p-1f, n, vl);                   \
        r = __riscv_vfmacc_vf_f32##M(r, 0x1.05c610p-29f, n, vl);                                   \
        vfloat32##M##_t q = __riscv_vfmv_v_f_f32##M(0x1.123c78p-7f, vl);                           \
        q = __riscv_vfmacc_vf_f32##M(q, 0x1.6db5b4p-10f, r, vl);                                   \
        q = rvv_horner_##M(q, r, 0x1.55545cp-5f, vl);                                              \
        q = rvv_horner_##M(q, r, 0x1.55548ep-3f, vl);                                              \
        q = rvv_horner_##M(q, r, 0.5f, vl);                                                        \
        q = __riscv_vfmadd_vv_f32##M(q, __riscv_vfmul_vv_f32##M(r, r, vl), r, vl);                 \
        return __riscv_vfadd_vf_f32##M(q, 1.0f, vl);                                               \
    }                                                                                              \
    RVV_INLINE vfloat32##M##_t rvv_exp_##M(vfloat32##M##_t x, size_t vl)                           \
    {                                                                                              \
        vint32##M##_t i;                                                                           \
        x = __riscv_vfmax_vf_f32##M(__riscv_vfmin_vf_f32##M(x, 89.0f, vl), -104.0f, vl);           \
        vfloat32##M##_t q = rvv_exp_parts_##M(x, &i, vl);                                          \
        vint32##M##_t half = __riscv_vsra_vx_i32##M(i, 1, vl);                                     \
        q = __riscv_vfmul_vv_f32##M(q, rvv_exp2_int_##M(half, vl), vl);                            \
        return __riscv_vfmul_vv_f32##M(                                                            \
            q, rvv_exp2_int_##M(__riscv_vsub_vv_i32##M(i, half, vl), vl), vl);                     \
    }

RVV_EXP(m4)
RVV_EXP(m8)

/* The integer of a sum with 2^23 + 2^22 stands in its lowest bits, as in math_exp2(). */
RVV_INLINE vfloat32m8_t rvv_exp2(vfloat32m8_t x, size_t vl)
{
    x = __riscv_vfmax_vf_f32m8(x, -127.0f, vl);
    vfloat32m8_t n = __riscv_vfadd_vf_f32m8(x, 12582912.0f, vl);
    vfloat32m8_t r = __riscv_vfsub_vv_f32m8(x, __riscv_vfsub_vf_f32m8(n, 12582912.0f, vl), vl);
    vfloat32m8_t p = __riscv_vfmv_v_f_f32m8(MATH_EXP2_4, vl);
    p = __riscv_vfmacc_vf_f32m8(p, MATH_EXP2_5, r, vl);
    p = rvv_horner_m8(p, r, MATH_EXP2_3, vl);
    p = rvv_horner_m8(p, r, MATH_EXP2_2, vl);
    p = rvv_horner_m8(p, r, MATH_EXP2_1, vl);
    p = rvv_horner_m8(p, r, 1.0f, vl);
    vint32m8_t bits = __riscv_vsll_vx_i32m8(__riscv_vreinterpret_v_f32m8_i32m8(n), 23, vl);
    bits = __riscv_vadd_vv_i32m8(bits, __riscv_vreinterpret_v_f32m8_i32m8(p), vl);
    return __riscv_vreinterpret_v_i32m8_f32m8(bits);
}

/* large with the sign of x where |x| is at least `limit`, else small, as for NaN. */
RVV_INLINE vfloat32m4_t rvv_branch(vfloat32m4_t x, vfloat32m4_t a, float limit, vfloat32m4_t small,
                                   vfloat32m4_t large, size_t vl)
{
    vbool8_t above = __riscv_vmfge_vf_f32m4_b8(a, limit, vl);
    large = __riscv_vfsgnj_vv_f32m4(large, x, vl);
    return __riscv_vmerge_vvm_f32m4(small, large, above, vl);
}

RVV_INLINE vfloat32m4_t rvv_tanh(vfloat32m4_t x, size_t vl)
{
    vfloat32m4_t a = __riscv_vfabs_v_f32m4(x, vl);
    vfloat32m4_t large =
        __riscv_vfadd_vf_f32m4(rvv_exp_m4(__riscv_vfadd_vv_f32m4(a, a, vl), vl), 1.0f, vl);
    large = __riscv_vfrsub_vf_f32m4(__riscv_vfrdiv_vf_f32m4(large, 2.0f, vl), 1.0f, vl);
    vfloat32m4_t s = __riscv_vfmul_vv_f32m4(x, x, vl);
    vfloat32m4_t p = __riscv_vfmv_v_f_f32m4(0x1.50b812p-6f, vl);
    p = __riscv_vfmacc_vf_f32m4(p, -0x1.6f41bep-8f, s, vl);
    p = rvv_horner_m4(p, s, -0x1.b806a2p-5f, vl);
    p = rvv_horner_m4(p, s, 0x1.1105a2p-3f, vl);
    p = rvv_horner_m4(p, s, -0x1.55552cp-2f, vl);
    p = __riscv_vfmadd_vv_f32m4(p, __riscv_vfmul_vv_f32m4(x, s, vl), x, vl);
    return rvv_branch(x, a, 0.625f, p, large, vl);
}

RVV_INLINE vfloat32m4_t rvv_erf(vfloat32m4_t x, size_t vl)
{
    vfloat32m4_t a = __riscv_vfabs_v_f32m4(x, vl);
    vfloat32m4_t t = __riscv_vfmin_vf_f32m4(a, 4.0f, vl);
    vfloat32m4_t q = __riscv_vfmv_v_f_f32m4(0x1.5579d8p-12f, vl);
    q = __riscv_vfmacc_vf_f32m4(q, -0x1.82a36ep-17f, t, vl);
    q = rvv_horner_m4(q, t, -0x1.dee886p-9f, vl);
    q = rvv_horner_m4(q, t, 0x1.85b31ep-6f, vl);
    q = rvv_horner_m4(q, t, -0x1.b34106p-4f, vl);
    q = rvv_horner_m4(q, t, -0x1.453088p-1f, vl);
    q = rvv_horner_m4(q, t, -0x1.077acap-3f, vl);
    q = __riscv_vfmsub_vv_f32m4(q, t, t, vl);
    vfloat32m4_t large = __riscv_vfrsub_vf_f32m4(rvv_exp_m4(q, vl), 1.0f, vl);
    vfloat32m4_t s = __riscv_vfmul_vv_f32m4(x, x, vl);
    vfloat32m4_t p = __riscv_vfmv_v_f_f32m4(-0x1.aaa2d4p-11f, vl);
    p = __riscv_vfmacc_vf_f32m4(p, 0x1.5e0622p-14f, s, vl);
    p = rvv_horner_m4(p, s, 0x1.54d42ap-8f, vl);
    p = rvv_horner_m4(p, s, -0x1.b80ff2p-6f, vl);
    p = rvv_horner_m4(p, s, 0x1.ce2e1cp-4f, vl);
    p = rvv_horner_m4(p, s, -0x1.812744p-2f, vl);
    p = rvv_horner_m4(p, s, 0x1.06eba8p-3f, vl);
    p = __riscv_vfmadd_vv_f32m4(p, x, x, vl);
    return rvv_branch(x, a, 0.93f, p, large, vl);
}

RVV_INLINE vfloat32m4_t rvv_silu(vfloat32m4_t x, size_t vl)
{
    vfloat32m4_t e = rvv_exp_m4(__riscv_vfneg_v_f32m4(x, vl), vl);
    return __riscv_vfdiv_vv_f32m4(x, __riscv_vfadd_vf_f32m4(e, 1.0f, vl), vl);
}

RVV_INLINE vfloat32m4_t rvv_gelu_tanh(vfloat32m4_t x, size_t vl)
{
    vfloat32m4_t cube = __riscv_vfmul_vv_f32m4(__riscv_vfmul_vv_f32m4(x, x, vl), x, vl);
    cube = __riscv_vfadd_vv_f32m4(x, __riscv_vfmul_vf_f32m4(cube, 0.044715f, vl), vl);
    vfloat32m4_t y = rvv_tanh(__riscv_vfmul_vf_f32m4(cube, 0.7978845608f, vl), vl);
    y = __riscv_vfadd_vf_f32m4(y, 1.0f, vl);
    return __riscv_vfmul_vv_f32m4(__riscv_vfmul_vf_f32m4(x, 0.5f, vl), y, vl);
}

RVV_INLINE vfloat32m4_t rvv_gelu_erf(vfloat32m4_t x, size_t vl)
{
    vfloat32m4_t y = rvv_erf(__riscv_vfmul_vf_f32m4(x, 0.70710678f, vl), vl);
    y = __riscv_vfadd_vf_f32m4(y, 1.0f, vl);
    return __riscv_vfmul_vv_f32m4(__riscv_vfmul_vf_f32m4(x, 0.5f, vl), y, vl);
}

#endif
