/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_FRAME_H
#define LINK_FRAME_H

/* One frame as bytes and back: docs/protocol.md, "Framing". No allocation; every buffer is bounded
 * by WIRE_MAX_*. */

#include <stdint.h>

#include "gen/wire.h"

#define FRAME_WIRE_BYTES (WIRE_MAX_ENCODED + 2u)

struct frame {
    uint8_t version;
    uint8_t type;
    uint8_t channel;
    uint8_t flags;
    uint16_t epoch;
    uint16_t seq;
    uint16_t ack;
    uint16_t credit;
    uint16_t length;
    const uint8_t *payload; /* length bytes, within the reader until its next byte */
};

/* Collects bytes between delimiters. Zeroed to begin with. */
struct frame_reader {
    uint8_t bytes[WIRE_MAX_ENCODED];
    uint32_t size;
    uint32_t overlong;
};

/* Writes the frame with both delimiters into `to` of FRAME_WIRE_BYTES. frame->length must be at
 * most WIRE_MAX_PAYLOAD. Returns the bytes written. */
uint32_t frame_encode(const struct frame *frame, uint8_t *to);

/* Takes one received byte. Returns 1 when it completed a good frame, which is then in `frame`, 0
 * when more is needed, E_FRAME when it ended something that is no frame. */
int frame_reader_push(struct frame_reader *reader, uint8_t byte, struct frame *frame);

#endif
