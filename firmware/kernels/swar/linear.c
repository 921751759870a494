/* SPDX-License-Identifier: Apache-2.0 */

/* What the linear kernels of layout SWAR share: finding rows, packing input rows piece by piece. */

#include "kernels/swar/linear.h"

#define PIECE 2048u /* bytes of packed rows on the stack: at least two groups of a block */

static struct swar_rows find_rows(const struct kernel_weight *w, uint32_t bytes, uint32_t packed,
                                  uint32_t row0, uint32_t row1)
{
    const uint8_t *tile = kernel_tile(w, row0);
    size_t lane = row0 % KERNEL_TILE;
    return (struct swar_rows){tile + bytes * lane,
                              tile + bytes * KERNEL_TILE + 2 * lane,
                              row1 - row0,
                              w->record,
                              bytes,
                              packed};
}

static void clear(uint32_t count, size_t rows, float *acc, size_t acc_stride)
{
    for (uint32_t t = 0; t < count; t++)
        __builtin_memset(acc + t * acc_stride, 0, rows * sizeof(float));
}

#if defined(__riscv)

#define SINGLE_ROWS 16u /* weight rows of a loop for one input row */
#define SEVERAL     2u  /* and for several */

/* Groups at a time for several input rows: with 16 of them, what two weight rows need stays in a
 * small cache for the next two. */
#define STRETCH 16u

void swar_run_single(swar_loop *loop, const struct swar_rows *rows, const uint8_t *in,
                     size_t in_stride, uint32_t groups, float *acc)
{
    for (size_t r = 0; r < rows->count; r += SINGLE_ROWS)
        loop(rows->values + r * rows->bytes, rows->scales + 2 * r, rows->record, in, in_stride,
             groups, acc + r, 0);
}

static void run_several(swar_loop *loop, const struct swar_rows *rows, const uint8_t *in,
                        size_t in_stride, uint32_t groups, float *acc, size_t acc_stride)
{
    const uint8_t *values = rows->values, *scales = rows->scales;
    for (uint32_t n; groups; groups -= n, in += n * in_stride) {
        n = groups < STRETCH ? groups : STRETCH;
        for (size_t r = 0; r < rows->count; r += SEVERAL)
            loop(values + r * rows->bytes, scales + 2 * r, rows->record, in, in_stride, n, acc + r,
                 acc_stride * sizeof(float));
        values += n * rows->record;
        scales += n * rows->record;
    }
}

void swar_run_loops(const struct swar_loops *loops, const struct swar_rows *rows,
                    const uint8_t *block, uint32_t count, uint32_t groups, float *acc,
                    size_t acc_stride)
{
    size_t in_stride = (size_t)count * rows->packed;
    for (uint32_t n; count; count -= n, block += n * rows->packed, acc += n * acc_stride) {
        n = count >= 8 ? 8 : count >= 4 ? 4 : count >= 2 ? 2 : 1;
        if (n == 1)
            swar_run_single(loops->single, rows, block, in_stride, groups, acc);
        else
            run_several(n == 8   ? loops->eight
                        : n == 4 ? loops->four
                                 : loops->two,
                        rows, block, in_stride, groups, acc, acc_stride);
    }
}

#endif

void swar_linear_packed(swar_run run, uint32_t bytes, const struct kernel_packed *packed,
                        const struct kernel_weight *w, const uint8_t *block, uint32_t count,
                        uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    struct swar_rows rows = find_rows(w, bytes, packed->record, row0, row1);
    clear(count, rows.count, acc, acc_stride);
    run(&rows, block, count, w->cols / KERNEL_GROUP, acc, acc_stride);
}

static void linear_block(swar_run run, uint32_t bytes, const struct kernel_packed *packed,
                         const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                         uint32_t row0, uint32_t row1, float *acc, size_t acc_stride)
{
    uint8_t piece[PIECE] __attribute__((aligned(8)));
    struct swar_rows rows = find_rows(w, bytes, packed->record, row0, row1);
    uint32_t groups = w->cols / KERNEL_GROUP, size = packed->record * count, most = PIECE / size;
    clear(count, rows.count, acc, acc_stride);
    for (uint32_t g = 0, n; g < groups; g += n) {
        n = groups - g < most ? groups - g : most;
        packed->pack(x, count, g, g + n, piece);
        run(&rows, piece, count, n, acc, acc_stride);
        rows.values += n * rows.record;
        rows.scales += n * rows.record;
    }
}

void swar_linear(swar_run run, uint32_t bytes, const struct kernel_packed *packed,
                 const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                 uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    for (uint32_t block; count; count -= block, x += block, acc += block * (size_t)acc_stride) {
        block = count < KERNEL_BLOCK ? count : KERNEL_BLOCK;
        linear_block(run, bytes, packed, w, x, block, row0, row1, acc, acc_stride);
    }
}

const struct kernel_packed *swar_packed(uint32_t format, uint32_t layout)
{
#define CHOOSE(FORMAT, LAYOUT, version)                                                            \
    if (format == IMAGE_FORMAT_##FORMAT && layout == IMAGE_LAYOUT_##LAYOUT)                        \
        return &version;
    KERNELS_PACKED(CHOOSE)
    return 0;
}
