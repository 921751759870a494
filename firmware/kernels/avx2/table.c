/* SPDX-License-Identifier: Apache-2.0 */

/* AVX2 where a weight is read and where rows are quantized; the rest compilers make vectors of
 * themselves. */

#include "kernels/avx2/functions.h"
#include "kernels/table.h"

TABLE_CHOOSERS(KERNELS_AVX2_GROUPS, KERNELS_AVX2_FLOATS)

TABLE(avx2) = {
    .name = "avx2",
    .linear_q8a = table_linear_q8a,
    .linear_f32 = table_linear_f32,
    .packed = table_packed,
    AVX2_FUNCTIONS,
};
