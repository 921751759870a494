/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_BAUD_H
#define LINK_BAUD_H

/* The rate of the line: changed tentatively, and given up again when nothing comes through
 * (docs/protocol.md, "Rate of the line"). */

#include <stdint.h>

#include "common/port.h"

void baud_init(const struct port *port);

/* Bits a second now; 0 where they cannot be changed. */
uint32_t baud_now(void);

/* The i-th rate, from the lowest, that the UART's clock makes within 2 %; 0 behind the last. */
uint32_t baud_offered(uint32_t i);

/* Changes to an offered rate, when the frames so far are out. */
void baud_try(uint32_t baud);

/* Goes back to where frames came through. To be called often. */
void baud_poll(void);

#endif
