/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers/clint.h"

#include "drivers/mmio.h"

#define MSIP     0x0000u /* u32 a hart */
#define MTIMECMP 0x4000u /* u64 a hart */
#define MTIME    0xbff8u

uint64_t clint_time(uintptr_t base)
{
    return mmio_u64(base + MTIME);
}

void clint_set_timer(uintptr_t base, uint32_t hart_id, uint64_t when)
{
    uintptr_t at = base + MTIMECMP + 8u * hart_id;
    /* Halves, as T-Head's takes nothing wider; never a moment that is past in between. */
    mmio_put_u32(at + 4, UINT32_MAX);
    mmio_put_u32(at, (uint32_t)when);
    mmio_put_u32(at + 4, (uint32_t)(when >> 32));
}

void clint_set_software(uintptr_t base, uint32_t hart_id, uint32_t pending)
{
    mmio_put_u32(base + MSIP + 4u * hart_id, pending);
}
