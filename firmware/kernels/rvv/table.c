/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/rvv/rvv.h"
#include "kernels/table.h"

#if KERNELS_RVV

TABLE_CHOOSERS(KERNELS_RVV_GROUPS, KERNELS_RVV_FLOATS)

TABLE(rvv) = {
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
    .weigh = rvv_weigh,
    .measure = rvv_measure,
    .find = rvv_find,
    .quantize_head = rvv_quantize_head,
    .queries = KERNEL_QUERIES,
    .pack_queries = rvv_pack_queries,
    .score_i8 = rvv_score_i8,
    .softmax = rvv_softmax,
    .weigh_i8 = rvv_weigh_i8,
    .values_i8 = rvv_values_i8,
    .dot_f32 = rvv_dot_f32,
    .axpy_f32 = rvv_axpy_f32,
};

#endif
