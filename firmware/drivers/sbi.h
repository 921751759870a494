/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIVERS_SBI_H
#define DRIVERS_SBI_H

/* Calls to the Supervisor Binary Interface below an S-mode firmware. Ids are harts' ids, not pool
 * numbers. */

#include <stdint.h>

#define SBI_HART_STARTED 0
#define SBI_HART_STOPPED 1

/* SBI_HART_*, another HSM state, or a negative SBI error where there is no such hart. */
long sbi_hart_status(uint32_t hart_id);

/* Starts a stopped hart at a physical address with a0 = its id and a1 = argument. Returns 0 or an
 * SBI error. */
long sbi_hart_start(uint32_t hart_id, uintptr_t entry, uintptr_t argument);

/* Makes the hart's software interrupt pending. */
void sbi_send_ipi(uint32_t hart_id);

/* Timer interrupt of the calling hart at a time as rdtime counts. */
void sbi_set_timer(uint64_t when);

/* mvendorid and mimpid of the cores; 0 where SBI does not tell. */
uint64_t sbi_vendor(void);
uint64_t sbi_implementation(void);

/* Powers off; returns where SBI cannot. */
void sbi_shutdown(int failed);

/* Starts the machine again, boot loaders and all; returns where SBI cannot. */
void sbi_reset(void);

#endif
