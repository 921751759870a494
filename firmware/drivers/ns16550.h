/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIVERS_NS16550_H
#define DRIVERS_NS16550_H

/* ns16550 UARTs and their kin (dw-apb-uart, xscale-uart): polled, 8N1, FIFOs on. */

#include <stdint.h>

struct ns16550 {
    uintptr_t base;
    uint32_t shift;  /* register n lies at base + (n << shift) */
    uint32_t width;  /* bytes of an access: 1 or 4 */
    uint32_t enable; /* bits of IER that stay set: an xscale-uart sleeps without bit 6 */
};

/* Sets the line up; clock 0 (Hz) keeps the divisor that is set. */
void ns16550_init(const struct ns16550 *uart, uint32_t clock, uint32_t baud);

/* Up to `size` bytes that have been received; returns their number. */
uint32_t ns16550_read(const struct ns16550 *uart, uint8_t *to, uint32_t size);

/* All of `size` bytes; waits for room in the transmitter. */
void ns16550_write(const struct ns16550 *uart, const uint8_t *from, uint32_t size);

/* Returns once the last bit is on the line. */
void ns16550_flush(const struct ns16550 *uart);

#endif
