/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIVERS_FDT_H
#define DRIVERS_FDT_H

/* The one question asked of a flattened device tree: which harts are there. */

#include <stdint.h>

/* Bit n set where /cpus has an enabled cpu with reg n < 64; 0 where `tree` is no device tree. */
uint64_t fdt_read_harts(const uint8_t *tree);

#endif
