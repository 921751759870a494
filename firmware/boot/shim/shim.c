/* SPDX-License-Identifier: Apache-2.0 */
/* An SBI for simulators that start in M-mode: BASE, TIME, IPI, HSM and SRST, as much as tests of an
 * S-mode payload need. It lies at the start of DRAM and enters the payload behind it as U-Boot's
 * `go` does: a0 and a1 are argc and argv, neither hart id nor device tree. Not for boards: those
 * have OpenSBI. */
#include <stdint.h>

#include "drivers/clint.h"
#include "drivers/fdt.h"
#include "drivers/ns16550.h"
#include "drivers/power.h"
#include "gen/board.h"

#define SHIM_HARTS 8u

#define CLINT_BASE 0x02000000u

#define EXT_PUTCHAR  1u
#define EXT_SHUTDOWN 8u
#define EXT_BASE     0x10u
#define EXT_TIME     0x54494d45u
#define EXT_IPI      0x735049u
#define EXT_HSM      0x48534du
#define EXT_SRST     0x53525354u

#define SBI_NOT_SUPPORTED     -2
#define SBI_INVALID_PARAMETER -3
#define SBI_ALREADY_AVAILABLE -6
#define SBI_SPEC_2_0          0x02000000
#define SHIM_IMPLEMENTATION   0x7e57

#define CAUSE_INTERRUPT ((uint64_t)1 << 63)
#define CAUSE_ECALL_S   9u
#define IRQ_M_SOFTWARE  3u
#define IRQ_M_TIMER     7u
#define MIP_SSIP        ((uint64_t)1 << 1)
#define MIP_STIP        ((uint64_t)1 << 5)
#define MIE_MSIE        ((uint64_t)1 << 3)
#define MIE_MTIE        ((uint64_t)1 << 7)
#define DELEGATED       0xb1ffu /* every exception but ecall from S and M */
#define DELEGATED_IRQ   0x222u

#define csr_write(name, value)                                                                     \
    __asm__ volatile("csrw " #name ", %0" : : "r"((uint64_t)(value)) : "memory")
#define csr_set(name, value)                                                                       \
    __asm__ volatile("csrs " #name ", %0" : : "r"((uint64_t)(value)) : "memory")
#define csr_clear(name, value)                                                                     \
    __asm__ volatile("csrc " #name ", %0" : : "r"((uint64_t)(value)) : "memory")

/* As shim_start.S saves them. */
struct shim_frame {
    uint64_t a[8];
    uint64_t rest[8];
};

enum shim_state { STARTED = 0, STOPPED = 1, START_PENDING = 2 };

struct shim_hart {
    uint32_t state;
    uint64_t entry;
    uint64_t argument;
};

void shim_main(uint64_t hart_id, uint64_t tree);
void shim_trap(struct shim_frame *frame);
_Noreturn void shim_enter_s(uint64_t a0, uint64_t a1, uint64_t entry);

/* Not in bss: harts arrive in any order, and nobody clears it. */
static struct shim_hart harts[SHIM_HARTS] __attribute__((section(".data"))) = {{STOPPED, 0, 0}};
static uint32_t boot_taken __attribute__((section(".data"))) = 0;
static uint64_t present __attribute__((section(".data"))) = 0;

static uint64_t hart_id_read(void)
{
    uint64_t id;
    __asm__ volatile("csrr %0, mhartid" : "=r"(id));
    return id;
}

static int is_present(uint64_t id)
{
    return id < SHIM_HARTS && present >> id & 1;
}

static void await_start(struct shim_hart *hart)
{
    csr_write(mie, MIE_MSIE);
    while (__atomic_load_n(&hart->state, __ATOMIC_SEQ_CST) != START_PENDING)
        __asm__ volatile("wfi");
}

void shim_main(uint64_t hart_id, uint64_t tree)
{
    struct shim_hart *hart = &harts[hart_id];
    csr_write(pmpaddr0, -1);
    csr_write(pmpcfg0, 0x1f);
    csr_write(medeleg, DELEGATED);
    csr_write(mideleg, DELEGATED_IRQ);
    csr_write(mcounteren, 7);
    if (!__atomic_exchange_n(&boot_taken, 1, __ATOMIC_SEQ_CST)) {
        uint64_t found = fdt_read_harts((const uint8_t *)tree);
        for (uint64_t i = 0; i < SHIM_HARTS; i++)
            harts[i].state = i == hart_id ? STARTED : STOPPED;
        __atomic_store_n(&present, found, __ATOMIC_SEQ_CST);
        csr_write(mie, MIE_MSIE);
        shim_enter_s(1, tree + 1, BOARD_LINK_BASE);
    }
    while (!__atomic_load_n(&present, __ATOMIC_SEQ_CST))
        ;
    await_start(hart);
    clint_set_software(CLINT_BASE, (uint32_t)hart_id, 0);
    __atomic_store_n(&hart->state, STARTED, __ATOMIC_SEQ_CST);
    shim_enter_s(hart_id, hart->argument, hart->entry);
}

static long hart_start(uint64_t id, uint64_t entry, uint64_t argument)
{
    if (!is_present(id))
        return SBI_INVALID_PARAMETER;
    if (harts[id].state != STOPPED)
        return SBI_ALREADY_AVAILABLE;
    harts[id].entry = entry;
    harts[id].argument = argument;
    __atomic_store_n(&harts[id].state, START_PENDING, __ATOMIC_SEQ_CST);
    clint_set_software(CLINT_BASE, (uint32_t)id, 1);
    return 0;
}

static long send_ipi(uint64_t mask, uint64_t base)
{
    for (uint64_t id = 0; id < SHIM_HARTS; id++) {
        int chosen =
            base == (uint64_t)-1 || (id >= base && id - base < 64 && mask >> (id - base) & 1);
        if (chosen && is_present(id))
            clint_set_software(CLINT_BASE, (uint32_t)id, 1);
    }
    return 0;
}

static int is_known(uint64_t extension)
{
    return extension == EXT_BASE || extension == EXT_TIME || extension == EXT_IPI ||
           extension == EXT_HSM || extension == EXT_SRST;
}

static long call_base(uint64_t function, uint64_t argument, uint64_t *value)
{
    *value = function == 0   ? SBI_SPEC_2_0
             : function == 1 ? SHIM_IMPLEMENTATION
             : function == 3 ? (uint64_t)is_known(argument)
                             : 0;
    return function > 6 ? SBI_NOT_SUPPORTED : 0;
}

static long call_hsm(uint64_t function, const uint64_t *a, uint64_t *value)
{
    if (function == 0)
        return hart_start(a[0], a[1], a[2]);
    if (function != 2)
        return SBI_NOT_SUPPORTED;
    if (!is_present(a[0]))
        return SBI_INVALID_PARAMETER;
    *value = __atomic_load_n(&harts[a[0]].state, __ATOMIC_SEQ_CST);
    return 0;
}

static long set_timer(uint64_t when)
{
    clint_set_timer(CLINT_BASE, (uint32_t)hart_id_read(), when);
    csr_clear(mip, MIP_STIP);
    csr_set(mie, MIE_MTIE);
    return 0;
}

static void put_character(uint8_t byte)
{
    static const struct ns16550 uart = {BOARD_UART_BASE, BOARD_UART_SHIFT, BOARD_UART_WIDTH,
                                        BOARD_UART_ENABLE};
    ns16550_write(&uart, &byte, 1);
}

static void call_sbi(uint64_t *a)
{
    uint64_t value = 0;
    long error = SBI_NOT_SUPPORTED;
    if (a[7] == EXT_BASE)
        error = call_base(a[6], a[0], &value);
    else if (a[7] == EXT_TIME && a[6] == 0)
        error = set_timer(a[0]);
    else if (a[7] == EXT_IPI && a[6] == 0)
        error = send_ipi(a[0], a[1]);
    else if (a[7] == EXT_HSM)
        error = call_hsm(a[6], a, &value);
    else if (a[7] == EXT_SRST)
        power_off_htif(a[1] != 0);
    else if (a[7] == EXT_SHUTDOWN)
        power_off_htif(1);
    else if (a[7] == EXT_PUTCHAR) {
        put_character((uint8_t)a[0]);
        a[0] = 0;
        return;
    }
    a[0] = (uint64_t)error;
    a[1] = value;
}

void shim_trap(struct shim_frame *frame)
{
    uint64_t cause, epc;
    __asm__ volatile("csrr %0, mcause" : "=r"(cause));
    __asm__ volatile("csrr %0, mepc" : "=r"(epc));
    if (cause == CAUSE_ECALL_S) {
        call_sbi(frame->a);
        csr_write(mepc, epc + 4);
    } else if (cause == (CAUSE_INTERRUPT | IRQ_M_TIMER)) {
        csr_clear(mie, MIE_MTIE);
        csr_set(mip, MIP_STIP);
    } else if (cause == (CAUSE_INTERRUPT | IRQ_M_SOFTWARE)) {
        clint_set_software(CLINT_BASE, (uint32_t)hart_id_read(), 0);
        csr_set(mip, MIP_SSIP);
    } else {
        power_off_htif(2);
    }
}
