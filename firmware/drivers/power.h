/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIVERS_POWER_H
#define DRIVERS_POWER_H

/* The ends of simulated machines. */

#include <stdint.h>

/* QEMU's sifive_test device at `base`: QEMU exits with `code`. */
_Noreturn void power_off_test(uintptr_t base, int code);

/* The same device: the machine starts again, or QEMU ends where it was told -no-reboot. */
_Noreturn void power_reset_test(uintptr_t base);

/* Spike's host interface: Spike exits with `code`. */
_Noreturn void power_off_htif(int code);

#endif
