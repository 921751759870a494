/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIVERS_MMIO_H
#define DRIVERS_MMIO_H

/* Device registers: each call is exactly one access of that width. */

#include <stdint.h>

static inline uint8_t mmio_u8(uintptr_t at)
{
    return *(volatile uint8_t *)at;
}

static inline uint32_t mmio_u32(uintptr_t at)
{
    return *(volatile uint32_t *)at;
}

static inline uint64_t mmio_u64(uintptr_t at)
{
    return *(volatile uint64_t *)at;
}

static inline void mmio_put_u8(uintptr_t at, uint8_t value)
{
    *(volatile uint8_t *)at = value;
}

static inline void mmio_put_u32(uintptr_t at, uint32_t value)
{
    *(volatile uint32_t *)at = value;
}

#endif
