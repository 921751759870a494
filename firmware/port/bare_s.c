/* SPDX-License-Identifier: Apache-2.0 */
/* S-mode: SBI below us has the timer, the interrupts and the other harts. */
#include "port/bare_machine.h"

#include <stddef.h>

#include "drivers/fdt.h"
#include "drivers/sbi.h"
#include "gen/board.h"
#include "port/bare.h"

#define SIE_SOFTWARE 2u
#define SIE_TIMER    32u
#define SSTATUS_SIE  2u

uint64_t machine_time(void)
{
    uint64_t value;
    __asm__ volatile("rdtime %0" : "=r"(value));
    return value;
}

void machine_set_timer(uint32_t hart_id, uint64_t when)
{
    (void)hart_id;
    sbi_set_timer(when);
}

void machine_wait(uint32_t hart_id, int timer)
{
    uint64_t enable = SIE_SOFTWARE | (timer ? SIE_TIMER : 0);
    (void)hart_id;
    /* Interrupts are off in sstatus: wfi ends on a pending one without a trap. */
    __asm__ volatile("csrw sie, %0\n wfi\n csrw sie, zero\n csrc sip, %1"
                     :
                     : "r"(enable), "r"(SIE_SOFTWARE)
                     : "memory");
    __asm__ volatile("fence iorw, iorw" : : : "memory");
}

void machine_wake(uint32_t hart_id)
{
    __asm__ volatile("fence iorw, iorw" : : : "memory");
    sbi_send_ipi(hart_id);
}

void machine_let_tick(int on)
{
    if (on)
        __asm__ volatile("csrw sie, %0\n csrs sstatus, %1"
                         :
                         : "r"((uint64_t)SIE_TIMER), "r"((uint64_t)SSTATUS_SIE)
                         : "memory");
    else
        __asm__ volatile("csrc sstatus, %0" : : "r"((uint64_t)SSTATUS_SIE) : "memory");
}

/* booti gives the hart's id and a device tree, go gives argc and argv: only HSM can be believed in
 * both. */
static int is_boot_hart(uint32_t hart_id, uint64_t a0, uint64_t a1)
{
    if (sbi_hart_status(hart_id) != SBI_HART_STARTED)
        return 0;
    return a1 % 8 || !fdt_read_harts((const uint8_t *)a1) || a0 == hart_id;
}

uint32_t machine_find_harts(uint64_t a0, uint64_t a1, uint32_t *ids)
{
    static const uint32_t listed[] = {BOARD_HART_IDS};
    const uint32_t all = sizeof listed / sizeof listed[0];
    uint32_t count = 0;
    /* Any hart may be the boot hart, whatever the limit: OpenSBI draws lots. */
    for (uint32_t i = 0; i < all && !count; i++)
        if (is_boot_hart(listed[i], a0, a1))
            ids[count++] = listed[i];
    for (uint32_t i = 0; i < all && count && count < BOARD_HARTS; i++)
        if (sbi_hart_status(listed[i]) == SBI_HART_STOPPED)
            ids[count++] = listed[i];
    return count;
}

uint64_t machine_vendor(void)
{
    return sbi_vendor();
}

uint64_t machine_implementation(void)
{
    return sbi_implementation();
}

int machine_start_hart(uint32_t hart_id, uint32_t number)
{
    return sbi_hart_start(hart_id, (uintptr_t)bare_hart_entry, number) != 0;
}

uint64_t machine_instret(void)
{
    uint64_t value;
    __asm__ volatile("rdinstret %0" : "=r"(value));
    return value;
}

uint64_t machine_cycles(void)
{
    uint64_t value;
    __asm__ volatile("rdcycle %0" : "=r"(value));
    return value;
}

void machine_halt(void)
{
    for (;;)
        __asm__ volatile("wfi");
}

void machine_exit(int code)
{
    sbi_shutdown(code);
    machine_halt();
}

void machine_reset(void)
{
    sbi_reset();
    machine_exit(MACHINE_EXIT_RESET);
}
