/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_BARE_H
#define PORT_BARE_H

/* Between boot/start.S and the bare-metal port. */

#include "gen/board.h"

/* From its lowest address on, a hart's part of the stacks is: the trap stack, the guard (each of
 * STACK_GUARD_BYTES), the stack. All of it is painted at the start. M-mode forbids all access to
 * the guard by PMP; in S-mode a tick looks whether its highest word still has its paint. */
#define STACK_GUARD_BYTES 4096
#define STACK_PAINT       0x6b63617473746e70

#ifndef __ASSEMBLER__

#include <stdint.h>

/* Of the linker: BOARD_STACK_BYTES for each hart's number; the end of the code. */
extern uint8_t stacks_start[], text_end[];

/* Opened by bare_main() for the harts that wait in start.S (M-mode). */
extern uint32_t bare_gate;

/* The boot hart's life, on its stack with bss cleared: a0 and a1 as they came from reset or boot
 * loader. */
_Noreturn void bare_main(uint64_t a0, uint64_t a1);

/* The other harts' life; `hart` is the number in the pool. */
_Noreturn void bare_hart_main(uint32_t hart);

/* Where S-mode harts are started. */
void bare_hart_entry(void);

/* Prints what happened, with the addresses on the stack from sp on that may be those of callers,
 * and stops the machine. `host symbolize` reads the text. */
_Noreturn void bare_trap(uint64_t cause, uint64_t epc, uint64_t tval, uint64_t hart, uint64_t sp);

/* The timer's interrupt on the boot hart. */
void bare_tick(void);

/* 1 where fn() ran to its end, 0 where it trapped; fn() calls nothing. */
int bare_probe(void (*fn)(void));

#endif

#endif
