/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_RVV_FOLD_H
#define KERNELS_RVV_FOLD_H

/* The end of a float reduction in 32 lanes. */

#include <riscv_vector.h>

/* 32 lanes folded 16, 8, 4, 2, 1. */
static inline float rvv_fold(vfloat32m8_t lanes)
{
    for (size_t half = 16; half; half /= 2) {
        vfloat32m8_t upper = __riscv_vslidedown_vx_f32m8(lanes, half, half);
        lanes = __riscv_vfadd_vv_f32m8(lanes, upper, half);
    }
    return __riscv_vfmv_f_s_f32m8_f32(lanes);
}

#endif
