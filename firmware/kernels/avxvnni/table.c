/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/avx2/functions.h"
#include "kernels/table.h"

TABLE_CHOOSERS(KERNELS_AVXVNNI_GROUPS, KERNELS_AVXVNNI_FLOATS)

TABLE(avxvnni) = {
    .name = "avxvnni",
    .linear_q8a = table_linear_q8a,
    .linear_f32 = table_linear_f32,
    .packed = table_packed,
    AVX2_FUNCTIONS,
};
