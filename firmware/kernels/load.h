/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_LOAD_H
#define KERNELS_LOAD_H

/* How kernels read packed weights: aligned little-endian loads, one instruction each.
 *
 * Tensors start at multiples of 64 bytes and records are multiples of 64, so the alignment is given
 * by the layout; a core without unaligned access would otherwise load byte by byte. The builtins
 * are written out because -ffreestanding turns plain memcpy into a call.
 */

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

#define KERNEL_TILE  64u
#define KERNEL_GROUP 32u

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

static inline uint64_t kernel_load_u64(const void *p)
{
    uint64_t v;
    __builtin_memcpy(&v, __builtin_assume_aligned(p, 8), sizeof v);
    return v;
}

static inline float kernel_bf16(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)h << 16};
    return v.f;
}

/* The i-th of an aligned array of bf16. */
static inline float kernel_load_bf16(const uint8_t *p, size_t i)
{
    uint16_t h;
    __builtin_memcpy(&h, __builtin_assume_aligned(p + 2 * i, 2), sizeof h);
    return kernel_bf16(h);
}

static inline float kernel_load_f32(const uint8_t *p, size_t i)
{
    float f;
    __builtin_memcpy(&f, __builtin_assume_aligned(p + 4 * i, 4), sizeof f);
    return f;
}

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
