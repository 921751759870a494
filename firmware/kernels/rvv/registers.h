/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_RVV_REGISTERS_H
#define KERNELS_RVV_REGISTERS_H

/* What the assembly of the linear kernels shares.
 *
 * Compilers spill whole register groups in such loops, and emit a vsetvli for every change of width
 * in an unrolled one: hence assembly, with the registers given out by hand.
 *
 * A vector load names its own width and may stand under any vtype of the same strip.
 */

#include "kernels/load.h"

#define RVV_CLOBBERS                                                                               \
    "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",     \
        "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", \
        "v26", "v27", "v28", "v29", "v30", "v31"

/* Weight rows are lanes, taken strip by strip. A strip of bytes takes two registers, so that 16-bit
 * sums take four and 32-bit ones eight; one register where that is enough. Some cases cover a whole
 * tile at once, with loads of several columns by one instruction: four registers at VLEN 128, where
 * 32-bit sums of all rows no longer fit, two at VLEN 256, one at VLEN 512, half of one at VLEN
 * 1024.
 */
enum rvv_strip { RVV_STRIP_ONE, RVV_STRIP_TWO, RVV_STRIP_TILE_TWO, RVV_STRIP_TILE_FOUR };

/* A tile's rows [row0, row1), read from one column group to the next. */
struct rvv_rows {
    const uint8_t *values; /* of row0 in the first record */
    const uint8_t *scales;
    size_t record; /* bytes from group to group */
    size_t groups;
    size_t count;
    size_t vlenb; /* bytes of a register */
};

static inline size_t rvv_vlenb(void)
{
    size_t vlenb;
    __asm__("csrr %0, vlenb" : "=r"(vlenb));
    return vlenb;
}

static inline struct rvv_rows rvv_rows(const struct kernel_weight *w, uint32_t row0, uint32_t row1,
                                       size_t value_bytes)
{
    const uint8_t *tile = kernel_tile(w, row0);
    size_t lane = row0 % KERNEL_TILE, vlenb = rvv_vlenb();
    return (struct rvv_rows){tile + lane, tile + value_bytes + 2 * lane,
                             w->record,   w->cols / KERNEL_GROUP,
                             row1 - row0, vlenb};
}

static inline size_t rvv_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The last two cases, apart from the others, whose calls they would make longer. */
static inline int rvv_wide(const struct rvv_rows *rows)
{
    return rows->vlenb >= KERNEL_TILE && rows->count == KERNEL_TILE &&
           rows->vlenb <= 2 * KERNEL_TILE;
}

/* How the next rows are taken. `four`: RVV_STRIP_TILE_FOUR is there. */
static inline enum rvv_strip rvv_strip(const struct rvv_rows *rows, int four)
{
    if (rows->count <= rows->vlenb)
        return RVV_STRIP_ONE;
    if (rows->count == KERNEL_TILE && rows->vlenb == KERNEL_TILE / 2)
        return RVV_STRIP_TILE_TWO;
    if (four && rows->count == KERNEL_TILE && rows->vlenb == KERNEL_TILE / 4)
        return RVV_STRIP_TILE_FOUR;
    return RVV_STRIP_TWO;
}

static inline size_t rvv_strip_rows(const struct rvv_rows *rows, enum rvv_strip strip)
{
    return rvv_min(rows->count, (strip == RVV_STRIP_TILE_FOUR ? 4 : 2) * rows->vlenb);
}

/* Behind a strip. */
static inline void rvv_advance(struct rvv_rows *rows, size_t count)
{
    rows->values += count;
    rows->scales += 2 * count;
    rows->count -= count;
}

/* Decode calls a kernel for every tile: what one input row takes is kept free of what several
 * take. */
#define RVV_OUT_OF_LINE static __attribute__((noinline))

/* ---- what the macros of a strip take: its vtype at 8, 16 and 32 bits, how its columns, or pairs
 * of columns, are loaded, where its scales lie when all columns are, and how it goes to the next
 * group
 * ---- */

/* clang-format off */
#define RVV_ONE \
    "e8, m1, ta, ma", "e16, m2, ta, ma", "e32, m4, ta, ma", RVV_LOAD, "%[scales]", RVV_NEXT_STRIP
#define RVV_TWO \
    "e8, m2, ta, ma", "e16, m4, ta, ma", "e32, m8, ta, ma", RVV_LOAD, "%[scales]", RVV_NEXT_STRIP
#define RVV_TILE_TWO \
    "e8, m2, ta, ma", "e16, m4, ta, ma", "e32, m8, ta, ma", RVV_LOAD_TILE, "%[values]", RVV_NEXT

/* Two that load eight registers at a time, in their own order. */
#define RVV_TILE_ONE \
    "e8, m1, ta, ma", "e16, m2, ta, ma", "e32, m4, ta, ma", RVV_LOAD_NONE, "%[values]", RVV_NEXT
#define RVV_TILE_HALF \
    "e8, mf2, ta, ma", "e16, m1, ta, ma", "e32, m2, ta, ma", RVV_LOAD_NONE, "%[values]", RVV_NEXT

/* A whole tile's scales begin where its values end. */
#define RVV_NEXT       "add %[values], %[values], %[skip]\n"
#define RVV_NEXT_STRIP RVV_NEXT "add %[scales], %[scales], %[record]\n"

#define RVV_SET(vtype) "vsetvli zero, %[vl], " vtype "\n"
#define RVV_SET_ALL(vtype) "vsetvli t0, zero, " vtype ", ta, ma\n"

#define RVV_LOAD_NONE(a, b, c, d)

/* The next four. Where rows lie in memory as in registers, a to d are eight registers in a row. */
#define RVV_LOAD_NEXT(v)     "vle8.v " v ", (%[values])\n addi %[values], %[values], 64\n"
#define RVV_LOAD(a, b, c, d) RVV_LOAD_NEXT(a) RVV_LOAD_NEXT(b) RVV_LOAD_NEXT(c) RVV_LOAD_NEXT(d)
#define RVV_LOAD_TILE(a, b, c, d) \
    "vl8re8.v " a ", (%[values])\n" \
    "addi %[values], %[values], 256\n"
/* The next `bytes`, eight registers from v on. */
#define RVV_LOAD_EIGHT(v, bytes) \
    "vl8re8.v " v ", (%[values])\n" \
    "addi %[values], %[values], " bytes "\n"
/* clang-format on */

#endif
