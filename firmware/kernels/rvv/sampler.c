/* SPDX-License-Identifier: Apache-2.0 */

/* The sampler's passes over the vocabulary. */

#include "kernels/rvv/rvv.h"

#if KERNELS_RVV

#include <riscv_vector.h>

#include "kernels/rvv/functions.h"

/* vfmax gives -30 for what is not a number. */
void rvv_weigh(const float *x, uint32_t n, float best, float factor, float *w)
{
    for (size_t vl; n; n -= (uint32_t)vl, x += vl, w += vl) {
        vl = __riscv_vsetvl_e32m4(n);
        vfloat32m4_t d = __riscv_vfsub_vf_f32m4(__riscv_vle32_v_f32m4(x, vl), best, vl);
        d = __riscv_vfmax_vf_f32m4(__riscv_vfmul_vf_f32m4(d, factor, vl), -30.0f, vl);
        vint32m4_t e;
        vint32m4_t p = __riscv_vreinterpret_v_f32m4_i32m4(rvv_exp_parts_m4(d, &e, vl));
        e = __riscv_vsll_vx_i32m4(__riscv_vadd_vx_i32m4(e, 40, vl), 23, vl);
        p = __riscv_vadd_vv_i32m4(p, e, vl);
        __riscv_vse32_v_f32m4(w, __riscv_vreinterpret_v_i32m4_f32m4(p), vl);
    }
}

uint64_t rvv_measure(const float *x, const float *w, uint32_t n, float cut, uint32_t *count)
{
    vuint64m1_t sum = __riscv_vmv_s_x_u64m1(0, 1);
    for (size_t vl; n; n -= (uint32_t)vl, x += vl, w += vl) {
        vl = __riscv_vsetvl_e32m4(n);
        vbool8_t in = __riscv_vmfge_vf_f32m4_b8(__riscv_vle32_v_f32m4(x, vl), cut, vl);
        vuint64m8_t whole =
            __riscv_vfwcvt_rtz_xu_f_v_u64m8_m(in, __riscv_vle32_v_f32m4_m(in, w, vl), vl);
        sum = __riscv_vredsum_vs_u64m8_u64m1_m(in, whole, sum, vl);
        *count += (uint32_t)__riscv_vcpop_m_b8(in, vl);
    }
    return __riscv_vmv_x_s_u64m1_u64(sum);
}

uint32_t rvv_find(const float *x, uint32_t n, float low, float high, uint32_t *indices)
{
    uint32_t found = 0;
    size_t vl;
    for (uint32_t i = 0; i < n; i += (uint32_t)vl) {
        vl = __riscv_vsetvl_e32m8(n - i);
        vfloat32m8_t v = __riscv_vle32_v_f32m8(x + i, vl);
        vbool4_t in = __riscv_vmfge_vf_f32m8_b4(v, low, vl);
        in = __riscv_vmand_mm_b4(in, __riscv_vmflt_vf_f32m8_b4(v, high, vl), vl);
        uint32_t count = (uint32_t)__riscv_vcpop_m_b4(in, vl);
        if (!count)
            continue;
        vuint32m8_t id = __riscv_vadd_vx_u32m8(__riscv_vid_v_u32m8(vl), i, vl);
        __riscv_vse32_v_u32m8(indices + found, __riscv_vcompress_vm_u32m8(id, in, vl), count);
        found += count;
    }
    return found;
}

#endif
