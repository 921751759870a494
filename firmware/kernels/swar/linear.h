/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_SWAR_LINEAR_H
#define KERNELS_SWAR_LINEAR_H

/* What the linear kernels of layout SWAR share. */

#include <stddef.h>

#include "kernels/load.h"
#include "kernels/swar/swar.h"

extern const struct kernel_packed swar_packed_q4, swar_packed_q4m, swar_packed_q8;

/* Weight rows of one tile, from some group on. */
struct swar_rows {
    const uint8_t *values; /* of the first row */
    const uint8_t *scales;
    size_t count, record;
};

/* acc += the rows' next `groups` groups times those of a block. */
typedef void (*swar_run)(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                         uint32_t groups, float *acc, size_t acc_stride);

/* kernel_packed's linear, by a run; `bytes` of values has a row in a group. */
void swar_linear_packed(swar_run run, uint32_t bytes, const struct kernel_weight *w,
                        const uint8_t *block, uint32_t count, uint32_t row0, uint32_t row1,
                        float *acc, uint32_t acc_stride);

/* The same with rows as they lie. */
void swar_linear(swar_run run, uint32_t bytes, const struct kernel_packed *packed,
                 const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                 uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

#endif
