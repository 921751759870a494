/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_TRANSFER_H
#define LINK_TRANSFER_H

/* Bytes of an image or of a session's state, by place: READ, WRITE and SUM of docs/protocol.md.
 * Nothing is remembered between two of them, so an interrupted transfer goes on by comparing sums.
 */

#include <stdint.h>

#include "port/port.h"

struct range {
    uint32_t space; /* WIRE_SPACE_* */
    uint32_t session;
    uint64_t offset;
    uint32_t size;
};

void transfer_init(const struct port *port);

/* Whether the range can be read. Returns 0, E_PARAMETER, E_NOT_READY, E_SESSION or E_RANGE. */
int transfer_check(const struct range *range);

/* Copies a checked range into `to`. */
void transfer_read(const struct range *range, uint8_t *to);

/* Replaces a range that can be read. Returns 0, what transfer_check() returns, E_LOADED for an
 * image in use, or E_TOKEN for a token beyond the vocabulary. */
int transfer_write(const struct range *range, const uint8_t *from);

/* CRC-32C of a checked range. */
uint32_t transfer_sum(const struct range *range);

#endif
