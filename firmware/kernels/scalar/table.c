/* SPDX-License-Identifier: Apache-2.0 */

#include "gen/image_format.h"
#include "kernels/scalar/scalar.h"
#include "kernels/swar/swar.h"

#if !KERNELS_RVV

static kernel_linear_q8a table_linear_q8a(uint32_t format, uint32_t layout)
{
    int swar = layout == IMAGE_LAYOUT_SWAR;
    if (format == IMAGE_FORMAT_Q4)
        return swar ? swar_linear_q4 : scalar_linear_q4;
    if (format == IMAGE_FORMAT_Q4M)
        return swar ? swar_linear_q4m : scalar_linear_q4m;
    return swar ? swar_linear_q8 : scalar_linear_q8;
}

static const struct kernel_packed *table_packed(uint32_t format, uint32_t layout)
{
    return layout == IMAGE_LAYOUT_SWAR ? swar_packed(format) : 0;
}

static kernel_linear_f32 table_linear_f32(uint32_t format, uint32_t layout)
{
    (void)layout;
    return format == IMAGE_FORMAT_F32 ? scalar_linear_f32 : scalar_linear_bf16;
}

const struct kernel_table kernels = {
    .name = "scalar",
    .linear_q8a = table_linear_q8a,
    .linear_f32 = table_linear_f32,
    .packed = table_packed,
    .quantize = scalar_quantize,
    .sum = scalar_sum,
    .sum_squares = scalar_sum_squares,
    .normalize = scalar_normalize,
    .activate = scalar_activate,
    .argmax = scalar_argmax,
    .quantize_head = scalar_quantize_head,
    .score_i8 = scalar_score_i8,
    .softmax = scalar_softmax,
    .axpy_i8 = scalar_axpy_i8,
    .dot_f32 = scalar_dot_f32,
    .axpy_f32 = scalar_axpy_f32,
};

#endif
