/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_RVV_REGISTERS_H
#define KERNELS_RVV_REGISTERS_H

/* What the assembly of the linear kernels shares.
 *
 * Strips of weight rows are a register group of two at 8 bits, so 16-bit sums take four registers
 * and 32-bit ones eight. Compilers spill whole groups in such loops, and emit a vsetvli for every
 * change of width in an unrolled one: hence assembly, with the registers given out by hand.
 *
 * A vector load names its own width and may stand under any vtype of the same strip.
 */

#include "kernels/load.h"

#define RVV_CLOBBERS                                                                               \
    "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",     \
        "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", \
        "v26", "v27", "v28", "v29", "v30", "v31"

/* The next column, or pair of columns, of 64 weight rows. */
#define RVV_LOAD(v) "vle8.v " v ", (%[values])\n addi %[values], %[values], 64\n"

/* A tile's rows [row0, row1), read from one column group to the next. */
struct rvv_rows {
    const uint8_t *values; /* of row0 in the first record */
    const uint8_t *scales;
    size_t record; /* bytes from group to group */
    size_t groups;
    size_t count;
};

static inline struct rvv_rows rvv_rows(const struct kernel_weight *w, uint32_t row0, uint32_t row1,
                                       size_t value_bytes)
{
    const uint8_t *tile = kernel_tile(w, row0);
    size_t lane = row0 % KERNEL_TILE;
    return (struct rvv_rows){tile + lane, tile + value_bytes + 2 * lane, w->record,
                             w->cols / KERNEL_GROUP, row1 - row0};
}

/* Decode calls a kernel for every tile: what one input row takes is kept free of what several
 * take. */
#define RVV_OUT_OF_LINE static __attribute__((noinline))

/* Rows of the next strip, of `rows` that are left. */
static inline size_t rvv_strip(size_t rows)
{
    size_t vl;
    __asm__ volatile("vsetvli %0, %1, e8, m2, ta, ma" : "=r"(vl) : "r"(rows));
    return vl;
}

/* How many of a strip's rows lie in the first half of its registers. */
static inline size_t rvv_half(size_t vl)
{
    size_t vlmax;
    __asm__ volatile("vsetvli %0, zero, e8, m1, ta, ma" : "=r"(vlmax));
    return vl < vlmax ? vl : vlmax;
}

#endif
