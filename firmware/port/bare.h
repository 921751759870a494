/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_BARE_H
#define PORT_BARE_H

/* Between boot/start.S and the bare-metal port. */

#include <stdint.h>

/* Opened by bare_main() for the harts that wait in start.S (M-mode). */
extern uint32_t bare_gate;

/* The boot hart's life, on its stack with bss cleared: a0 and a1 as they came from reset or boot
 * loader. */
_Noreturn void bare_main(uint64_t a0, uint64_t a1);

/* The other harts' life; `hart` is the number in the pool. */
_Noreturn void bare_hart_main(uint32_t hart);

/* Where S-mode harts are started. */
void bare_hart_entry(void);

/* Prints what happened and stops the machine. */
_Noreturn void bare_trap(uint64_t cause, uint64_t epc, uint64_t tval, uint64_t hart);

/* The timer's interrupt on the boot hart. */
void bare_tick(void);

/* 1 where fn() ran to its end, 0 where it trapped; fn() calls nothing. */
int bare_probe(void (*fn)(void));

#endif
