/* SPDX-License-Identifier: Apache-2.0 */
/* The port for boards without an operating system. */
#include "port/bare.h"

#include <stddef.h>

#include "drivers/ns16550.h"
#include "common/pool.h"
#include "flash/slot.h"
#include "gen/board.h"
#include "gen/wire.h"
#include "link/ring.h"
#include "port/bare_machine.h"
#include "common/port.h"
#include "port/vector.h"

#define START_TICKS    BOARD_TIMER_HZ /* a second for the harts to come up */
#define STACK_WORDS    48             /* of a trap's text: a second at 9600 baud */
#define WATCHDOG_TICKS (BOARD_TIMER_HZ * (uint64_t)BOARD_WATCHDOG_MS / 1000u)

static const struct ns16550 uart = {BOARD_UART_BASE, BOARD_UART_SHIFT, BOARD_UART_WIDTH,
                                    BOARD_UART_ENABLE};
static uint32_t hart_ids[BOARD_HARTS];
static uint32_t harts_ready;
static uint32_t pool_open;
static struct port port;
static struct pool pool;
static uint64_t watchdog_at; /* 0: not armed yet */
static uint64_t fifo_ticks;  /* until half a 16-byte FIFO has come */

/* Between the FIFO, which an op would let overflow, and port_read(). */
static struct ring ring;

/* What the FIFO has into the ring; what does not fit stays, and a simulator then holds back. */
static void drain(void)
{
    uint8_t byte;
    while (ring_room(&ring) && ns16550_read(&uart, &byte, 1))
        (void)ring_put(&ring, byte);
}

static void print(const char *text)
{
    uint32_t size = 0;
    while (text[size])
        size++;
    ns16550_write(&uart, (const uint8_t *)text, size);
}

static void print_hex(const char *name, uint64_t value)
{
    char digits[19] = "0x0000000000000000";
    for (uint32_t i = 17; i > 1; i--, value >>= 4)
        digits[i] = "0123456789abcdef"[value & 15];
    print(name);
    print(digits);
}

static _Noreturn void port_exit(int code)
{
    ns16550_flush(&uart);
    machine_exit(code);
}

static _Noreturn void give_up(void)
{
    ns16550_flush(&uart);
    /* Before it ever served, the next start would end in the same way. */
    if (watchdog_at)
        machine_reset();
    port_exit(1);
}

/* Where a hart's stack ends, and its guard begins. */
static uint8_t *stack_low(uint64_t hart)
{
    return stacks_start + hart * BOARD_STACK_BYTES + 2 * STACK_GUARD_BYTES;
}

/* Nothing that runs between two looks at the line may take so long: it hangs. */
static _Noreturn void bark(void)
{
    print("\r\nWATCHDOG: no op has ended in time; restarting\r\n");
    ns16550_flush(&uart);
    machine_reset();
}

#if BOARD_S_MODE
/* Nothing forbids a stack to grow: what lies below it has lost its paint then. */
static void check_stacks(void)
{
    for (uint32_t hart = 0; hart < port.harts; hart++) {
        if (*((const uint64_t *)stack_low(hart) - 1) == STACK_PAINT)
            continue;
        print("\r\nTRAP: stack overflow");
        print_hex("; hart ", hart_ids[hart]);
        print(" (found by the tick)\r\n");
        give_up();
    }
}
#endif

void bare_tick(void)
{
    uint64_t now = machine_time();
#if BOARD_S_MODE
    check_stacks();
#endif
    drain();
    if (watchdog_at && now > watchdog_at)
        bark();
    machine_set_timer(hart_ids[0], now + fifo_ticks);
}

static int port_read(uint8_t *to, uint32_t size)
{
    machine_let_tick(0);
    watchdog_at = machine_time() + WATCHDOG_TICKS;
    drain();
    uint32_t got = ring_take(&ring, to, size);
    machine_let_tick(1);
    return (int)got;
}

static int port_write(const uint8_t *from, uint32_t size)
{
    ns16550_write(&uart, from, size);
    return 0;
}

static void set_baud(uint32_t baud)
{
    machine_let_tick(0);
    fifo_ticks = BOARD_TIMER_HZ * 80ull / baud;
    ns16550_init(&uart, BOARD_UART_CLOCK, baud);
    bare_tick();
    machine_let_tick(1);
}

/* Hart 0 never sleeps longer than the FIFO can wait. */
static void port_idle(void)
{
    machine_let_tick(0);
    machine_wait(hart_ids[0], 1);
    bare_tick();
    machine_let_tick(1);
}

static uint64_t port_time_us(void)
{
    uint64_t now = machine_time();
    return now / BOARD_TIMER_HZ * 1000000u + now % BOARD_TIMER_HZ * 1000000u / BOARD_TIMER_HZ;
}

static void port_hart_sleep(struct pool *the_pool, uint32_t hart)
{
    (void)the_pool;
    if (hart)
        machine_wait(hart_ids[hart], 0);
    else
        port_idle();
}

static void port_hart_wake(struct pool *the_pool, uint32_t hart)
{
    (void)the_pool;
    machine_wake(hart_ids[hart]);
}

#if PORT_FAULTS
static void fail(uint32_t kind)
{
    if (kind == WIRE_FAILURE_TRAP)
        __builtin_trap();
    if (kind == WIRE_FAILURE_DEAF)
        machine_let_tick(0);
    while (kind == WIRE_FAILURE_HANG || kind == WIRE_FAILURE_DEAF)
        __asm__ volatile("");
}
#endif

static uint64_t no_counter(void)
{
    return 0;
}

static void try_counters(void)
{
    machine_instret();
    machine_cycles();
}

#if KERNELS_RVV
static struct vector_answer vector;

static void ask_vector(void)
{
    vector_ask(&vector);
}

/* A core without V, or with another, would end in a trap that tells nobody what to do. */
static void check_vector(void)
{
    const char *problem = VECTOR_OLD;
    if (machine_vendor() != VECTOR_OLD_VENDOR ||
        machine_implementation() != VECTOR_OLD_IMPLEMENTATION)
        problem = bare_probe(ask_vector) ? vector_problem(&vector) : VECTOR_NONE;
    port.vlen = (uint32_t)vector.bytes * 8u;
    if (!problem)
        return;
    print("\r\nTRAP: ");
    print(problem);
    print("\r\n");
    port_exit(1);
}
#endif

/* What may be return addresses, youngest first: which ones are, only the ELF tells. */
static void print_stack(uint64_t hart, uint64_t sp)
{
    uint64_t low = (uintptr_t)stack_low(hart);
    uint64_t top = (uintptr_t)(stacks_start + (hart + 1) * BOARD_STACK_BYTES);
    uint32_t left = STACK_WORDS;
    sp &= ~(uint64_t)7;
    if (sp < low || sp > top)
        sp = low;
    print("\r\nSTACK:");
    for (const uint64_t *at = (const uint64_t *)(uintptr_t)sp; (uintptr_t)at < top && left; at++)
        if (*at - BOARD_LINK_BASE < (uintptr_t)text_end - BOARD_LINK_BASE) {
            print_hex(" ", *at);
            left--;
        }
}

void bare_trap(uint64_t cause, uint64_t epc, uint64_t tval, uint64_t hart, uint64_t sp)
{
    static const char *const words[] = {
        "instruction address misaligned",
        "instruction access fault",
        "illegal instruction",
        "breakpoint",
        "load address misaligned",
        "load access fault",
        "store address misaligned",
        "store access fault",
    };
    static uint32_t trapped;
    /* A trap in here, or of another hart meanwhile, must not bury the first one's words. */
    if (__atomic_exchange_n(&trapped, 1, __ATOMIC_SEQ_CST))
        machine_halt();
    print("\r\nTRAP: ");
    if (tval - (uintptr_t)stack_low(hart) + STACK_GUARD_BYTES < STACK_GUARD_BYTES)
        print("stack overflow, ");
    print(cause < sizeof words / sizeof words[0] ? words[cause] : "unexpected");
    print_hex("; cause ", cause);
    print_hex(" epc ", epc);
    print_hex(" tval ", tval);
    print_hex(" hart ", hart_ids[hart]);
    print_stack(hart, sp);
    print("\r\n");
    give_up();
}

/* Numbers stay without gaps: a hart that is missing would leave the barrier waiting for ever. */
static void start_harts(uint32_t found)
{
    uint32_t count = 1;
    for (uint32_t i = 1; i < found; i++) {
        hart_ids[count] = hart_ids[i];
        if (!machine_start_hart(hart_ids[i], count))
            count++;
    }
    uint64_t began = machine_time();
    while (__atomic_load_n(&harts_ready, __ATOMIC_SEQ_CST) < count - 1)
        if (machine_time() - began > START_TICKS) {
            print("TRAP: a hart did not start; build with harts= or see boards/*.toml\r\n");
            port_exit(1);
        }
    port.harts = count;
}

static void fill_port(void)
{
    port.board = BOARD_NAME;
    port.isa = BOARD_ISA;
    port.uart_clock_hz = BOARD_UART_CLOCK;
    port.memory =
        (struct port_memory){(const uint8_t *)(uintptr_t)BOARD_IMAGE_BASE, BOARD_IMAGE_LIMIT,
                             (uint8_t *)(uintptr_t)BOARD_ARENA_BASE, BOARD_ARENA_SIZE};
    port.read = port_read;
    port.write = port_write;
    port.idle = port_idle;
    port.time_us = port_time_us;
    port.counters = BOARD_COUNTERS && bare_probe(try_counters);
    port.instret = port.counters ? machine_instret : no_counter;
    port.cycles = port.counters ? machine_cycles : no_counter;
    port.pool = &pool;
    port.hart_sleep = port_hart_sleep;
    port.hart_wake = port_hart_wake;
    port.exit = port_exit;
#if PORT_FAULTS
    port.fail = fail;
#endif
    port.baud = BOARD_UART_BAUD;
    port.set_baud = BOARD_UART_CLOCK ? set_baud : NULL;
    port.image_area = (uint8_t *)(uintptr_t)BOARD_IMAGE_BASE;
    port.image_area_size = BOARD_IMAGE_LIMIT;
    port.slot = slot_open((uint8_t *)(uintptr_t)BOARD_HANDOFF);
    fifo_ticks = BOARD_TIMER_HZ * 80ull / BOARD_UART_BAUD;
}

void bare_main(uint64_t a0, uint64_t a1)
{
    ns16550_init(&uart, BOARD_UART_CLOCK, BOARD_UART_BAUD);
    fill_port();
#if KERNELS_RVV
    check_vector();
#endif
    uint32_t found = machine_find_harts(a0, a1, hart_ids);
    if (found == 0) {
        print("TRAP: SBI reports none of this board's harts as started\r\n");
        port_exit(1);
    }
    start_harts(found);
    pool_init(&pool, &port);
    __atomic_store_n(&pool_open, 1, __ATOMIC_SEQ_CST);
    bare_tick();
    machine_let_tick(1);
    device_run(&port);
    port_exit(0);
}

void bare_hart_main(uint32_t hart)
{
    __atomic_add_fetch(&harts_ready, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&pool_open, __ATOMIC_SEQ_CST))
        ;
    pool_worker(&pool, hart);
    for (;;)
        ;
}
