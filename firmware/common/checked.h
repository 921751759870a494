/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CHECKED_H
#define COMMON_CHECKED_H

/* Arithmetic on sizes that come from an image: saturating at UINT64_MAX, so that whatever
 * overflowed fails the comparison that follows and no intermediate test is needed. */

#include <stdint.h>

static inline uint64_t checked_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline uint64_t checked_mul(uint64_t a, uint64_t b)
{
    return a && b > UINT64_MAX / a ? UINT64_MAX : a * b;
}

/* Rounded up to a multiple of `to`, a power of two; UINT64_MAX where that does not fit. */
static inline uint64_t checked_align(uint64_t value, uint64_t to)
{
    return value > UINT64_MAX - (to - 1) ? UINT64_MAX : (value + to - 1) & ~(to - 1);
}

/* Whether [offset, offset + size) lies within [0, limit). */
static inline int checked_range(uint64_t offset, uint64_t size, uint64_t limit)
{
    return offset <= limit && size <= limit - offset;
}

/* ceil(value / by) for 32-bit operands. */
static inline uint64_t checked_ceil(uint64_t value, uint64_t by)
{
    return value / by + (value % by != 0);
}

#endif
