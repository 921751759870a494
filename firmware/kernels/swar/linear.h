/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_SWAR_LINEAR_H
#define KERNELS_SWAR_LINEAR_H

/* What the linear kernels of layout SWAR share. */

#include <stddef.h>

#include "formats/formats.h"
#include "kernels/load.h"
#include "kernels/swar/swar.h"

#define SWAR_DECLARE(FORMAT, LAYOUT, version) extern const struct kernel_packed version;
KERNELS_PACKED(SWAR_DECLARE)

/* Weight rows of one tile, from some group on. */
struct swar_rows {
    const uint8_t *values; /* of the first row */
    const uint8_t *scales;
    size_t count, record;
    uint32_t bytes;  /* of a row's values in a group */
    uint32_t packed; /* bytes of an input row's packed group */
};

/* acc += the rows' next `groups` groups times those of a block. */
typedef void (*swar_run)(const struct swar_rows *rows, const uint8_t *block, uint32_t count,
                         uint32_t groups, float *acc, size_t acc_stride);

/* An inner loop in assembly: acc += some first rows times the groups of some input rows, which go
 * on by in_stride bytes a group; acc_stride in bytes. */
typedef void swar_loop(const uint8_t *values, const uint8_t *scales, size_t record,
                       const uint8_t *in, size_t in_stride, size_t groups, float *acc,
                       size_t acc_stride);

/* 16 weight rows and one input row; 2 weight rows and several input rows. */
struct swar_loops {
    swar_loop *single, *two, *four, *eight;
};

/* A run by one loop, for one input row. */
void swar_run_single(swar_loop *loop, const struct swar_rows *rows, const uint8_t *in,
                     size_t in_stride, uint32_t groups, float *acc);

/* A run by such loops. */
void swar_run_loops(const struct swar_loops *loops, const struct swar_rows *rows,
                    const uint8_t *block, uint32_t count, uint32_t groups, float *acc,
                    size_t acc_stride);

/* kernel_packed's linear, by a run; `bytes` of values has a row in a group. */
void swar_linear_packed(swar_run run, uint32_t bytes, const struct kernel_packed *packed,
                        const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                        uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

/* The same with rows as they lie. */
void swar_linear(swar_run run, uint32_t bytes, const struct kernel_packed *packed,
                 const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                 uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

#endif
