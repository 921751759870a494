/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_LOAD_H
#define KERNELS_LOAD_H

/* What kernels share: the shape of tiles and groups, hints to compilers, the order of a sum. */

#include <stddef.h>
#include <stdint.h>

#include "common/load.h"
#include "gen/image_format.h"
#include "kernels/kernels.h"

#define KERNEL_TILE  IMAGE_TILE_ROWS
#define KERNEL_GROUP IMAGE_GROUP

/* Before a loop: unroll it n times, 1 not at all. */
#define KERNEL_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define KERNEL_UNROLL(n) KERNEL_PRAGMA(clang loop unroll_count(n))
#else
#define KERNEL_UNROLL(n) KERNEL_PRAGMA(GCC unroll n)
#endif

/* Keeps a constant in a register; compilers otherwise make it anew, or derive a second one from it.
 */
#define KERNEL_KEEP(v) __asm__("" : "+r"(v))

/* Of a function that copies: a loop of vectors rather than a call of memcpy, which takes words. */
#if KERNELS_RVV && defined(__clang__)
#define KERNEL_COPIES __attribute__((noinline, no_builtin("memcpy")))
#else
#define KERNEL_COPIES
#endif

/* The tile that holds `row`. */
static inline const uint8_t *kernel_tile(const struct kernel_weight *w, uint32_t row)
{
    return w->data + (uint64_t)(row / KERNEL_TILE) * w->tile_stride;
}

/* A float reduction's last step: 32 lanes folded 16, 8, 4, 2, 1. */
static inline float kernel_fold(float *lanes)
{
    for (uint32_t width = 16; width; width /= 2)
        for (uint32_t i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

#endif
