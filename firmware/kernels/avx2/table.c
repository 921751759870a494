/* SPDX-License-Identifier: Apache-2.0 */

/* AVX2 where a weight is read; the rest compilers make vectors of themselves. */

#include "formats/formats.h"
#include "kernels/scalar/scalar.h"
#include "kernels/swar/swar.h"

#define DECLARE(FORMAT, LAYOUT, function) kernel_linear_q8a function;
KERNELS_AVX2_GROUPS(DECLARE)

#define DECLARE_FLOAT(FORMAT, function) kernel_linear_f32 function;
KERNELS_AVX2_FLOATS(DECLARE_FLOAT)

static kernel_linear_q8a *table_linear_q8a(uint32_t format, uint32_t layout)
{
#define CHOOSE(FORMAT, LAYOUT, function)                                                           \
    if (format == IMAGE_FORMAT_##FORMAT && layout == IMAGE_LAYOUT_##LAYOUT)                        \
        return function;
    KERNELS_AVX2_GROUPS(CHOOSE)
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
    KERNELS_AVX2_FLOATS(CHOOSE_FLOAT)
    return 0;
}

const struct kernel_table kernels = {
    .name = "avx2",
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
