/* SPDX-License-Identifier: Apache-2.0 */

/* Rows of floats. Sums are in 32 virtual lanes: 32 floats are one LMUL 8 register group at VLEN 128
 * and a part of one beyond. */

#include "gen/image_format.h"
#include "kernels/load.h"
#include "kernels/quantize.h"
#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

#include "kernels/rvv/fold.h"
#include "kernels/rvv/functions.h"

/* `n` values, at most a group; sums and scales of 32 lanes, of which the rest are zeros. */
static inline void quantize_group(const float *x, size_t n, int8_t *values, float *scale,
                                  int32_t *sum)
{
    vfloat32m8_t v = __riscv_vle32_v_f32m8(x, n);
    vfloat32m1_t zero = __riscv_vfmv_s_f_f32m1(0.0f, 1);
    vfloat32m1_t amax = __riscv_vfredmax_vs_f32m8_f32m1(__riscv_vfabs_v_f32m8(v, n), zero, n);
    float inverse;
    *scale = quantize_scale(__riscv_vfmv_f_s_f32m1_f32(amax), &inverse);
    v = __riscv_vfmin_vf_f32m8(__riscv_vfmul_vf_f32m8(v, inverse, n), 127.0f, n);
    vint16m4_t q = __riscv_vfncvt_x_f_w_i16m4(v, n);
    vint32m1_t none = __riscv_vmv_s_x_i32m1(0, 1);
    *sum = __riscv_vmv_x_s_i32m1_i32(__riscv_vwredsum_vs_i16m4_i32m1(q, none, n));
    __riscv_vse8_v_i8m2(values, __riscv_vncvt_x_x_w_i8m2(q, n), n);
}

void rvv_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums)
{
    for (; n >= KERNEL_GROUP; n -= KERNEL_GROUP, x += KERNEL_GROUP, values += KERNEL_GROUP)
        quantize_group(x, KERNEL_GROUP, values, scales++, sums++);
    if (n) {
        __builtin_memset(values, 0, KERNEL_GROUP);
        quantize_group(x, n, values, scales, sums);
    }
}

float rvv_sum(const float *x, uint32_t n)
{
    vfloat32m8_t lanes = __riscv_vfmv_v_f_f32m8(0.0f, 32);
    for (uint32_t i = 0; i < n; i += 32) {
        size_t vl = n - i < 32 ? n - i : 32;
        lanes = __riscv_vfadd_vv_f32m8_tu(lanes, lanes, __riscv_vle32_v_f32m8(x + i, vl), vl);
    }
    return rvv_fold(lanes);
}

float rvv_sum_squares(const float *x, float mean, uint32_t n)
{
    vfloat32m8_t lanes = __riscv_vfmv_v_f_f32m8(0.0f, 32);
    for (uint32_t i = 0; i < n; i += 32) {
        size_t vl = n - i < 32 ? n - i : 32;
        vfloat32m8_t d = __riscv_vfsub_vf_f32m8(__riscv_vle32_v_f32m8(x + i, vl), mean, vl);
        lanes = __riscv_vfmacc_vv_f32m8_tu(lanes, d, d, vl);
    }
    return rvv_fold(lanes);
}

void rvv_normalize(const float *x, uint32_t n, float mean, float factor, const float *weight,
                   const float *bias, float *y)
{
    size_t vl;
    for (size_t i = 0; i < n; i += vl) {
        vl = __riscv_vsetvl_e32m8(n - i);
        vfloat32m8_t v = __riscv_vfsub_vf_f32m8(__riscv_vle32_v_f32m8(x + i, vl), mean, vl);
        v = __riscv_vfmul_vf_f32m8(v, factor, vl);
        vfloat32m8_t b = __riscv_vfmv_v_f_f32m8(0.0f, vl);
        if (bias)
            b = __riscv_vle32_v_f32m8(bias + i, vl);
        if (weight && bias)
            v = __riscv_vfmadd_vv_f32m8(v, __riscv_vle32_v_f32m8(weight + i, vl), b, vl);
        else if (weight)
            v = __riscv_vfmul_vv_f32m8(v, __riscv_vle32_v_f32m8(weight + i, vl), vl);
        else if (bias)
            v = __riscv_vfadd_vv_f32m8(v, b, vl);
        __riscv_vse32_v_f32m8(y + i, v, vl);
    }
}

/* A loop of its own for each function, with no more constants than it needs. */
#define ACTIVATE(name, value)                                                                      \
    static __attribute__((noinline)) void name(float *x, size_t n)                                 \
    {                                                                                              \
        for (size_t vl; n; n -= vl, x += vl) {                                                     \
            vl = __riscv_vsetvl_e32m4(n);                                                          \
            vfloat32m4_t v = __riscv_vle32_v_f32m4(x, vl);                                         \
            __riscv_vse32_v_f32m4(x, value, vl);                                                   \
        }                                                                                          \
    }

ACTIVATE(silu, rvv_silu(v, vl))
ACTIVATE(gelu_tanh, rvv_gelu_tanh(v, vl))
ACTIVATE(gelu_erf, rvv_gelu_erf(v, vl))
ACTIVATE(relu, __riscv_vfmax_vf_f32m4(v, 0.0f, vl))
ACTIVATE(hyperbolic_tangent, rvv_tanh(v, vl))

void rvv_activate(float *x, uint32_t n, uint32_t kind)
{
    if (kind == IMAGE_ACTIVATION_SILU)
        silu(x, n);
    else if (kind == IMAGE_ACTIVATION_GELU_TANH)
        gelu_tanh(x, n);
    else if (kind == IMAGE_ACTIVATION_GELU_ERF)
        gelu_erf(x, n);
    else if (kind == IMAGE_ACTIVATION_RELU)
        relu(x, n);
    else if (kind == IMAGE_ACTIVATION_TANH)
        hyperbolic_tangent(x, n);
}

uint32_t rvv_argmax(const float *x, uint32_t n)
{
    vfloat32m1_t most = __riscv_vfmv_s_f_f32m1(-__builtin_inff(), 1);
    size_t vl;
    for (size_t i = 0; i < n; i += vl) {
        vl = __riscv_vsetvl_e32m8(n - i);
        most = __riscv_vfredmax_vs_f32m8_f32m1(__riscv_vle32_v_f32m8(x + i, vl), most, vl);
    }
    float max = __riscv_vfmv_f_s_f32m1_f32(most);
    for (size_t i = 0; max > -__builtin_inff() && i < n; i += vl) {
        vl = __riscv_vsetvl_e32m8(n - i);
        vbool4_t equal = __riscv_vmfeq_vf_f32m8_b4(__riscv_vle32_v_f32m8(x + i, vl), max, vl);
        long first = __riscv_vfirst_m_b4(equal, vl);
        if (first >= 0)
            return (uint32_t)(i + (size_t)first);
    }
    return 0;
}

#endif
