/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/scalar/scalar.h"
#include "kernels/table.h"

TABLE_CHOOSERS(KERNELS_SCALAR_GROUPS, KERNELS_SCALAR_FLOATS)

TABLE(scalar) = {
    .name = "scalar",
    .linear_q8a = table_linear_q8a,
    .linear_f32 = table_linear_f32,
    .packed = table_packed,
#if defined(__riscv)
    SCALAR_QUANTIZERS,
    SCALAR_ROWS,
    SWAR_ATTENTION,
#else
    SCALAR_FUNCTIONS, /* compilers make vectors of it */
#endif
};
