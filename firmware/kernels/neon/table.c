/* SPDX-License-Identifier: Apache-2.0 */

/* NEON where a weight is read; the rest compilers make vectors of themselves. */

#include "kernels/scalar/scalar.h"
#include "kernels/table.h"

TABLE_CHOOSERS(KERNELS_NEON_GROUPS, KERNELS_NEON_FLOATS)

TABLE(neon) = {
    .name = "neon",
    .linear_q8a = table_linear_q8a,
    .linear_f32 = table_linear_f32,
    .packed = table_packed,
    SCALAR_FUNCTIONS,
};
