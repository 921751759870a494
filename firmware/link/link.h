/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_LINK_H
#define LINK_LINK_H

/* The line: frames in and out over the port, each numbered one exactly once and in order within an
 * epoch (docs/protocol.md, "Delivery").
 *
 * One line a device. What is damaged, of another epoch, seen before or ahead of what is missing is
 * dropped and counted here, and asked for again; what passes goes to the receiver.
 */

#include <stdint.h>

#include "link/frame.h"
#include "common/port.h"

struct link_counters {
    uint32_t received;
    uint32_t damaged;
    uint32_t duplicate;
    uint32_t lost; /* frames dropped because one before them was missing */
    uint32_t repeated;
};

/* Who gets the good frames. */
struct link_receiver {
    void (*receive)(void *context, const struct frame *frame);
    void *context;
};

/* Who sees each received byte first, and takes those outside of frames: takes() returns whether it
 * has taken the byte. */
struct link_filter {
    int (*takes)(void *context, uint8_t byte);
    void *context;
};

/* Starts in epoch 0, in which only HELLO is taken. */
void link_init(const struct port *port, struct link_receiver receiver, struct link_filter filter);

/* Receives what has arrived, at most a few kilobytes a call so that a flood cannot stop the engine,
 * gives good frames to the receiver, and sends what is due: acknowledgements, repetitions. Returns
 * the bytes read, or E_IO when the other end is gone. */
int link_poll(void);

/* Begins the epoch of a HELLO that was just received: both directions count from 0 and what was not
 * delivered is forgotten. Returns 1, or 0 where this very HELLO has begun it already. */
int link_open(const struct frame *hello, uint32_t nonce);

/* Ends the epoch: a host that speaks in it finds a device that knows it no more, and announces
 * itself. */
void link_close(void);

/* Whether an epoch was begun. */
int link_is_open(void);

/* Whether a frame of another epoch came since the last call: its sender does not know that the
 * device has restarted, or that another host has opened it. */
int link_heard_stranger(void);

/* When a good frame last came. */
uint64_t link_heard_us(void);

/* Whether only damage has come since. */
int link_is_spoiled(void);

/* How many frames of the stream channel link_send() can take now. */
uint32_t link_room(void);

/* Sends one numbered frame and keeps it until it is acknowledged. Frames of the control channel
 * find room whenever a request was received; of the stream channel only where link_room() says so.
 */
void link_send(uint8_t type, uint8_t channel, const uint8_t *payload, uint32_t size);

/* Sends one frame outside the sequence; it may be lost. */
void link_send_unnumbered(uint8_t type, const uint8_t *payload, uint32_t size);

const struct link_counters *link_counters(void);

#endif
