/* SPDX-License-Identifier: Apache-2.0 */

#include "formats/formats.h"
#include "kernels/rvv/rvv.h"
#include "kernels/swar/swar.h"

#if KERNELS_RVV

#define DECLARE(FORMAT, LAYOUT, function) kernel_linear_q8a function;
KERNELS_RVV_GROUPS(DECLARE)

#define DECLARE_FLOAT(FORMAT, function) kernel_linear_f32 function;
KERNELS_RVV_FLOATS(DECLARE_FLOAT)

static kernel_linear_q8a *table_linear_q8a(uint32_t format, uint32_t layout)
{
#define CHOOSE(FORMAT, LAYOUT, function)                                                           \
    if (format == IMAGE_FORMAT_##FORMAT && layout == IMAGE_LAYOUT_##LAYOUT)                        \
        return function;
    KERNELS_RVV_GROUPS(CHOOSE)
    return 0;
}

static const struct kernel_packed *table_packed(uint32_t format, uint32_t layout)
{
    return layout == IMAGE_LAYOUT_SWAR ? swar_packed(format) : 0;
}

static kernel_linear_f32 *table_linear_f32(uint32_t format)
{
#define CHOOSE_FLOAT(FORMAT, function)                                                             \
    if (format == IMAGE_FORMAT_##FORMAT)                                                           \
        return function;
    KERNELS_RVV_FLOATS(CHOOSE_FLOAT)
    return 0;
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
