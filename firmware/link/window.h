/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_WINDOW_H
#define LINK_WINDOW_H

/* The frames of one direction that were given to the line and are not yet acknowledged: go-back-N
 * with a static ring of them, docs/protocol.md, "Delivery".
 *
 * A frame is numbered when it is pushed and sent when window_next() gives it out, the first time or
 * again. Time comes in from outside, so that a test needs no clock.
 */

#include <stdint.h>

#include "link/frame.h"

struct window_slot {
    uint8_t type;
    uint8_t channel;
    uint16_t size;
    uint8_t payload[WIRE_MAX_PAYLOAD];
};

struct window {
    struct window_slot
        slots[WIRE_WINDOW_FRAMES]; /* frame `seq` in slot seq mod WIRE_WINDOW_FRAMES */
    uint16_t first;                /* oldest frame not acknowledged */
    uint16_t cursor;               /* next frame to send */
    uint16_t fresh;                /* next frame that was never sent */
    uint16_t end;                  /* next number to give */
    uint16_t credit;               /* encoded bytes that may be under way */
    uint16_t probing;              /* after a timeout: one frame until an answer */
    uint16_t tries;                /* timeouts since the other end was heard */
    uint32_t repeated;
    uint64_t sent_us; /* when a frame was last sent or acknowledged */
};

/* Empties it: numbers begin at 0, with room for `credit` encoded bytes at the other end. */
void window_open(struct window *window, uint16_t credit);

/* Frames that can be pushed. */
uint32_t window_room(const struct window *window);

/* Keeps and numbers a frame of `size` <= WIRE_MAX_PAYLOAD bytes; there must be room. */
void window_push(struct window *window, uint8_t type, uint8_t channel, const uint8_t *payload,
                 uint32_t size);

/* The other end awaits frame `ack` and can take `credit` bytes: what lies before is done with. An
 * ack of what was never sent changes nothing. */
void window_acknowledge(struct window *window, uint16_t ack, uint16_t credit, uint64_t now_us);

/* The other end misses the oldest frame: all are sent again from there. */
void window_repeat(struct window *window);

/* The next frame to send now, be it again after its time: fills all of `frame` but version, epoch,
 * ack and credit. Returns 1, or 0 where there is nothing to send now. */
int window_next(struct window *window, uint64_t now_us, struct frame *frame);

#endif
