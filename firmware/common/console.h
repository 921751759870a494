/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONSOLE_H
#define COMMON_CONSOLE_H

/* Plain text on the line, for people with a terminal and for the host's console view. Lines end in
 * CR LF. */

#include <stdint.h>

#include "common/port.h"

void console_text(const struct port *port, const char *text);
void console_u64(const struct port *port, uint64_t value);
void console_hex8(const struct port *port, uint8_t value);

/* Bytes as "12.3 MiB", or KiB below one. */
void console_size(const struct port *port, uint64_t bytes);

#endif
