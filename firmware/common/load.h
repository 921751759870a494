/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_LOAD_H
#define COMMON_LOAD_H

/* How packed weights are read: aligned little-endian loads, one instruction each.
 *
 * Tensors start at multiples of 64 bytes and records are multiples of 64, so the alignment is given
 * by the layout; a core without unaligned access would otherwise load byte by byte. The builtins
 * are written out because -ffreestanding turns plain memcpy into a call.
 */

#include <stddef.h>
#include <stdint.h>

static inline uint64_t load_u64(const void *p)
{
    uint64_t v;
    __builtin_memcpy(&v, __builtin_assume_aligned(p, 8), sizeof v);
    return v;
}

static inline float load_bf16_bits(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)h << 16};
    return v.f;
}

/* The i-th of an aligned array of bf16. */
static inline float load_bf16(const uint8_t *p, size_t i)
{
    uint16_t h;
    __builtin_memcpy(&h, __builtin_assume_aligned(p + 2 * i, 2), sizeof h);
    return load_bf16_bits(h);
}

static inline float load_f32(const uint8_t *p, size_t i)
{
    float f;
    __builtin_memcpy(&f, __builtin_assume_aligned(p + 4 * i, 4), sizeof f);
    return f;
}

#endif
