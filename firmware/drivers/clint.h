/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIVERS_CLINT_H
#define DRIVERS_CLINT_H

/* The core-local interruptor of M-mode: time, timer and software interrupts of each hart. */

#include <stdint.h>

uint64_t clint_time(uintptr_t base);
void clint_set_timer(uintptr_t base, uint32_t hart_id, uint64_t when);
void clint_set_software(uintptr_t base, uint32_t hart_id, uint32_t pending);

#endif
