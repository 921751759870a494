/* SPDX-License-Identifier: Apache-2.0 */

#include "gen/image_format.h"
#include "kernels/rvv/rvv.h"
#include "kernels/swar/swar.h"

#if KERNELS_RVV

static kernel_linear_q8a table_linear_q8a(uint32_t format, uint32_t layout)
{
    int swar = layout == IMAGE_LAYOUT_SWAR;
    if (format == IMAGE_FORMAT_Q4)
        return swar ? swar_linear_q4 : rvv_linear_q4;
    if (format == IMAGE_FORMAT_Q4M)
        return swar ? swar_linear_q4m : rvv_linear_q4m;
    return swar ? swar_linear_q8 : rvv_linear_q8;
}

static const struct kernel_packed *table_packed(uint32_t format, uint32_t layout)
{
    return layout == IMAGE_LAYOUT_SWAR ? swar_packed(format) : 0;
}

static kernel_linear_f32 table_linear_f32(uint32_t format, uint32_t layout)
{
    (void)layout;
    return format == IMAGE_FORMAT_F32 ? rvv_linear_f32 : rvv_linear_bf16;
}

const struct kernel_table kernels = {
    .name = "rvv",
    .linear_q8a = table_linear_q8a,
    .linear_f32 = table_linear_f32,
    .packed = table_packed,
    .quantize = rvv_quantize,
    .sum = rvv_sum,
    .sum_squares = rvv_sum_squares,
    .normalize = rvv_normalize,
    .activate = rvv_activate,
    .argmax = rvv_argmax,
    .quantize_head = rvv_quantize_head,
    .score_i8 = rvv_score_i8,
    .softmax = rvv_softmax,
    .axpy_i8 = rvv_axpy_i8,
    .dot_f32 = rvv_dot_f32,
    .axpy_f32 = rvv_axpy_f32,
};

#endif
