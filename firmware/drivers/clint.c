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
    mmio_put_u64(base + MTIMECMP + 8u * hart_id, when);
}

void clint_set_software(uintptr_t base, uint32_t hart_id, uint32_t pending)
{
    mmio_put_u32(base + MSIP + 4u * hart_id, pending);
}
