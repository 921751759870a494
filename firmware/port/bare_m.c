/* SPDX-License-Identifier: Apache-2.0 */
/* M-mode: the CLINT is ours. */
#include "port/bare_machine.h"

#include "drivers/clint.h"
#include "drivers/fdt.h"
#include "drivers/power.h"
#include "gen/board.h"
#include "port/bare.h"

#define MIE_SOFTWARE 8u
#define MIE_TIMER    128u
#define MSTATUS_MIE  8u

/* Not in bss: the waiting harts read it while bss is cleared. */
uint32_t bare_gate __attribute__((section(".data"))) = 0;

uint64_t machine_time(void)
{
#if BOARD_CLINT_MTIME
    return clint_time(BOARD_CLINT_BASE);
#else
    uint64_t value;
    __asm__ volatile("rdtime %0" : "=r"(value));
    return value;
#endif
}

void machine_set_timer(uint32_t hart_id, uint64_t when)
{
    clint_set_timer(BOARD_CLINT_BASE, hart_id, when);
}

void machine_wait(uint32_t hart_id, int timer)
{
    uint64_t enable = MIE_SOFTWARE | (timer ? MIE_TIMER : 0);
    /* Interrupts are off in mstatus: wfi ends on a pending one without a trap. */
    __asm__ volatile("csrw mie, %0\n wfi\n csrw mie, zero" : : "r"(enable) : "memory");
    clint_set_software(BOARD_CLINT_BASE, hart_id, 0);
    __asm__ volatile("fence iorw, iorw" : : : "memory");
}

void machine_wake(uint32_t hart_id)
{
    __asm__ volatile("fence iorw, iorw" : : : "memory");
    clint_set_software(BOARD_CLINT_BASE, hart_id, 1);
}

void machine_let_tick(int on)
{
    if (on)
        __asm__ volatile("csrw mie, %0\n csrs mstatus, %1"
                         :
                         : "r"((uint64_t)MIE_TIMER), "r"((uint64_t)MSTATUS_MIE)
                         : "memory");
    else
        __asm__ volatile("csrc mstatus, %0" : : "r"((uint64_t)MSTATUS_MIE) : "memory");
}

uint32_t machine_find_harts(uint64_t a0, uint64_t a1, uint32_t *ids)
{
    static const uint32_t listed[] = {BOARD_HART_IDS};
    uint64_t there = fdt_read_harts((const uint8_t *)a1);
    uint32_t count = 0;
    (void)a0;
    /* start.S counts by the list, so a gap in what is there ends it. */
    while (count < BOARD_HARTS &&
           (there ? there >> listed[count] & 1 : count < BOARD_HARTS_DEFAULT)) {
        ids[count] = listed[count];
        count++;
    }
    return count;
}

uint64_t machine_vendor(void)
{
    uint64_t value;
    __asm__ volatile("csrr %0, mvendorid" : "=r"(value));
    return value;
}

uint64_t machine_implementation(void)
{
    uint64_t value;
    __asm__ volatile("csrr %0, mimpid" : "=r"(value));
    return value;
}

int machine_start_hart(uint32_t hart_id, uint32_t number)
{
    (void)hart_id, (void)number;
    __atomic_store_n(&bare_gate, 1, __ATOMIC_SEQ_CST);
    return 0;
}

uint64_t machine_instret(void)
{
    uint64_t value;
    __asm__ volatile("csrr %0, minstret" : "=r"(value));
    return value;
}

uint64_t machine_cycles(void)
{
    uint64_t value;
    __asm__ volatile("csrr %0, mcycle" : "=r"(value));
    return value;
}

void machine_halt(void)
{
    for (;;)
        __asm__ volatile("wfi");
}

void machine_exit(int code)
{
#if BOARD_POWER == POWER_TEST
    power_off_test(BOARD_POWER_BASE, code);
#elif BOARD_POWER == POWER_HTIF
    power_off_htif(code);
#else
    (void)code;
    machine_halt();
#endif
}

void machine_reset(void)
{
#if BOARD_POWER == POWER_TEST
    power_reset_test(BOARD_POWER_BASE);
#else
    machine_exit(MACHINE_EXIT_RESET);
#endif
}
