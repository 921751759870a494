/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_BARE_MACHINE_H
#define PORT_BARE_MACHINE_H

/* What M-mode does by itself and S-mode asks SBI for. Ids are harts' ids, not pool numbers. */

#include <stdint.h>

#define MACHINE_EXIT_RESET 3 /* code of machine_reset() where the machine cannot start again */

uint64_t machine_time(void);
void machine_set_timer(uint32_t hart_id, uint64_t when);

/* Waits for the timer (timer != 0) or a software interrupt of the calling hart, and takes the
 * latter back. */
void machine_wait(uint32_t hart_id, int timer);
void machine_wake(uint32_t hart_id);

/* Fills ids with the board's harts that are there, the calling one first; a0 and a1 are those of
 * the boot. Returns their number; 0 where SBI knows no running hart of the board. */
uint32_t machine_find_harts(uint64_t a0, uint64_t a1, uint32_t *ids);

/* mvendorid and mimpid; 0 where nobody tells. */
uint64_t machine_vendor(void);
uint64_t machine_implementation(void);

/* Lets the hart enter bare_hart_main(number). Returns 0, or not where it will not come. */
int machine_start_hart(uint32_t hart_id, uint32_t number);

/* Lets the timer interrupt the calling hart into bare_tick(), or no longer; off at first, and off
 * it must be in machine_wait(). */
void machine_let_tick(int on);

uint64_t machine_instret(void);
uint64_t machine_cycles(void);

/* Stops the calling hart for good. */
_Noreturn void machine_halt(void);

/* Powers off, telling `code` where the machine can. */
_Noreturn void machine_exit(int code);

/* Starts the machine again, or powers it off where it cannot. */
_Noreturn void machine_reset(void);

#endif
