/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers/power.h"

#include "drivers/mmio.h"

#define TEST_PASS  0x5555u
#define TEST_FAIL  0x3333u
#define TEST_RESET 0x7777u

/* Spike finds both by name in the ELF. */
volatile uint64_t tohost __attribute__((section(".htif"), aligned(64)));
volatile uint64_t fromhost __attribute__((section(".htif"), aligned(64)));

void power_off_test(uintptr_t base, int code)
{
    mmio_put_u32(base, code ? (uint32_t)code << 16 | TEST_FAIL : TEST_PASS);
    for (;;)
        __asm__ volatile("wfi");
}

void power_reset_test(uintptr_t base)
{
    mmio_put_u32(base, TEST_RESET);
    for (;;)
        __asm__ volatile("wfi");
}

void power_off_htif(int code)
{
    for (;;)
        tohost = (uint64_t)(uint32_t)code << 1 | 1;
}
