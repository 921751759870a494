/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_MATH_H
#define COMMON_MATH_H

/* Elementary functions in f32, the same bits on every target.
 *
 * Only IEEE operations in a written order, with fma where it is written; no libm, no table, no
 * branch whose outcome could differ. Written with selects, so that compilers may turn loops over
 * them into vectors: lanes do what scalars do. Coefficients are weighted minimax fits, rounded to
 * f32 one after the other, lowest first.
 *
 * Greatest errors against float64 (tests/unit/test_functions.py holds them to this):
 *   math_exp      1.1 ulp; below -103.98 gives 0, above 88.73 +inf, subnormal results rounded once;
 *                 NaN gives +inf
 *   math_exp2     2.0 ulp for x in -126..0; below anything under 2^-126, from -127 on 0, as for NaN
 *   math_tanh     1.4 ulp
 *   math_erf      1.1 ulp
 *   math_sincos   1.6 ulp for |x| to 1e6, near multiples of pi/2 too; beyond 4e6 the angle is
 *                 clamped
 *
 * The bits of a NaN that an operation makes are the target's own (x86 sets its sign, RISC-V does
 * not): no function lets them decide anything, and what is compared goes through math_canonical().
 */

#include <stdint.h>

static inline float math_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

static inline float math_sqrt(float x)
{
    return __builtin_sqrtf(x);
}

static inline float math_from_bits(uint32_t bits)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = bits};
    return v.f;
}

static inline uint32_t math_to_bits(float x)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = x};
    return v.u;
}

/* x, any NaN as the one that RISC-V makes. */
static inline float math_canonical(float x)
{
    return x == x ? x : math_from_bits(0x7FC00000u);
}

static inline float math_abs(float x)
{
    return math_from_bits(math_to_bits(x) & 0x7FFFFFFFu);
}

/* |x| with the sign of `of`. */
static inline float math_with_sign(float x, float of)
{
    return math_from_bits((math_to_bits(x) & 0x7FFFFFFFu) | (math_to_bits(of) & 0x80000000u));
}

/* Nearest integer, ties to even; |x| below 2^22. */
static inline float math_round(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* 2^n for n in -126..127. */
static inline float math_exp2_int(int32_t n)
{
    return math_from_bits((uint32_t)(n + 127) << 23);
}

/* p * 2^n, rounded once; p near 1 and n in -151..128. 2^128 and 2^-150 are no floats, but products
 * with one factor of two, or in double, are exact. */
static inline float math_scale(float p, int32_t n)
{
#if defined(__riscv) && !defined(__riscv_vector)
    union {
        uint64_t u;
        double d;
    } power = {.u = (uint64_t)(int64_t)(n + 1023) << 52};
    return (float)((double)p * power.d);
#else
    int32_t half = n >> 1;
    return (p * math_exp2_int(half)) * math_exp2_int(n - half);
#endif
}

/* exp(x) = p * 2^n, p near 1, for x in -104..89. */
static inline float math_exp_parts(float x, int32_t *exponent)
{
    float n = math_round(x * 0x1.715476p+0f);
    float r = math_fma(n, -0x1.62e430p-1f, x);
    r = math_fma(n, 0x1.05c610p-29f, r);
    float q = math_fma(0x1.6db5b4p-10f, r, 0x1.123c78p-7f);
    q = math_fma(q, r, 0x1.55545cp-5f);
    q = math_fma(q, r, 0x1.55548ep-3f);
    q = math_fma(q, r, 0.5f);
    *exponent = (int32_t)n;
    return math_fma(r * r, q, r) + 1.0f;
}

static inline float math_exp(float x)
{
    int32_t n;
    x = x < 89.0f ? x : 89.0f;
    x = x > -104.0f ? x : -104.0f;
    float p = math_exp_parts(x, &n);
    return math_scale(p, n);
}

#define MATH_LOG2_E 0x1.715476p+0f

/* 2^r is 1 and these, for r in -1/2..1/2. */
#define MATH_EXP2_1 0x1.62e42ap-1f
#define MATH_EXP2_2 0x1.ebf9c2p-3f
#define MATH_EXP2_3 0x1.c6b6dap-5f
#define MATH_EXP2_4 0x1.3ce8b2p-7f
#define MATH_EXP2_5 0x1.5bd97cp-10f

/* 2^x for x up to 0, whose exponent is added as an integer: what attention weighs with. */
static inline float math_exp2(float x)
{
#if defined(__riscv)
    x = __builtin_fmaxf(x, -127.0f);
#else
    x = x > -127.0f ? x : -127.0f;
#endif
    float n = x + 12582912.0f; /* the integer in its lowest bits */
    float r = x - (n - 12582912.0f);
    float p = math_fma(MATH_EXP2_5, r, MATH_EXP2_4);
    p = math_fma(p, r, MATH_EXP2_3);
    p = math_fma(p, r, MATH_EXP2_2);
    p = math_fma(p, r, MATH_EXP2_1);
    p = math_fma(p, r, 1.0f);
    return math_from_bits(math_to_bits(p) + (math_to_bits(n) << 23));
}

static inline float math_tanh(float x)
{
    float a = math_abs(x);
    float s = x * x;
    float p = math_fma(-0x1.6f41bep-8f, s, 0x1.50b812p-6f);
    p = math_fma(p, s, -0x1.b806a2p-5f);
    p = math_fma(p, s, 0x1.1105a2p-3f);
    p = math_fma(p, s, -0x1.55552cp-2f);
    float small = math_fma(x * s, p, x);
    float large = 1.0f - 2.0f / (math_exp(a + a) + 1.0f);
    return a >= 0.625f ? math_with_sign(large, x) : small;
}

static inline float math_erf(float x)
{
    float a = math_abs(x);
    float s = x * x;
    float p = math_fma(0x1.5e0622p-14f, s, -0x1.aaa2d4p-11f);
    p = math_fma(p, s, 0x1.54d42ap-8f);
    p = math_fma(p, s, -0x1.b80ff2p-6f);
    p = math_fma(p, s, 0x1.ce2e1cp-4f);
    p = math_fma(p, s, -0x1.812744p-2f);
    p = math_fma(p, s, 0x1.06eba8p-3f);
    float small = math_fma(x, p, x);
    /* 1 - exp(-t + t * q(t)): erfc's logarithm is smooth; from 4 on erf rounds to 1. */
    float t = a < 4.0f ? a : 4.0f;
    float q = math_fma(-0x1.82a36ep-17f, t, 0x1.5579d8p-12f);
    q = math_fma(q, t, -0x1.dee886p-9f);
    q = math_fma(q, t, 0x1.85b31ep-6f);
    q = math_fma(q, t, -0x1.b34106p-4f);
    q = math_fma(q, t, -0x1.453088p-1f);
    q = math_fma(q, t, -0x1.077acap-3f);
    float large = 1.0f - math_exp(math_fma(t, q, -t));
    return a >= 0.93f ? math_with_sign(large, x) : small;
}

/* Cody and Waite's reduction by pi/2 in three parts. With fma the first step is exact: n < 2^20
 * times 24 bits leaves a multiple of 2^-23 below 1. The other two round relative to their small
 * result. */
static inline void math_sincos(float x, float *sine, float *cosine)
{
    x = x < 4e6f ? x : 4e6f;
    x = x > -4e6f ? x : -4e6f;
    float n = math_round(x * 0x1.45f306p-1f);
    float r = math_fma(n, -0x1.921fb6p+0f, x);
    r = math_fma(n, 0x1.777a5cp-25f, r);
    r = math_fma(n, 0x1.ee59dap-50f, r);
    float z = r * r;
    float p = math_fma(0x1.6bb6e0p-19f, z, -0x1.a00a66p-13f);
    p = math_fma(p, z, 0x1.111102p-7f);
    p = math_fma(p, z, -0x1.555556p-3f);
    float s = math_fma(r * z, p, r);
    float q = math_fma(0x1.98a34ap-16f, z, -0x1.6c076ap-10f);
    q = math_fma(q, z, 0x1.555542p-5f);
    float c = math_fma(z * z, q, math_fma(z, -0.5f, 1.0f));
    uint32_t quadrant = (uint32_t)(int32_t)n & 3u;
    float even = quadrant & 1u ? c : s;
    float odd = quadrant & 1u ? s : c;
    *sine = quadrant & 2u ? -even : even;
    *cosine = (quadrant + 1u) & 2u ? -odd : odd;
}

static inline float math_silu(float x)
{
    return x / (1.0f + math_exp(-x));
}

static inline float math_gelu_tanh(float x)
{
    float cube = (x * x) * x;
    float inner = 0.7978845608f * (x + 0.044715f * cube);
    return (0.5f * x) * (1.0f + math_tanh(inner));
}

static inline float math_gelu_erf(float x)
{
    return (0.5f * x) * (1.0f + math_erf(x * 0.70710678f));
}

static inline float math_relu(float x)
{
    return x > 0.0f ? x : 0.0f;
}

#endif
