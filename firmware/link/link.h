/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_LINK_H
#define LINK_LINK_H

/* The line: frames in and out over the port, with epoch, sequence numbers and credit.
 *
 * One line a device. Frames that are damaged, of another epoch or seen before are dropped and
 * counted here; what passes goes to the receiver.
 */

#include <stdint.h>

#include "link/frame.h"
#include "port/port.h"

struct link_counters {
    uint32_t received;
    uint32_t damaged;
    uint32_t duplicate;
    uint32_t lost;
};

typedef void (*link_receiver)(const struct frame *frame);

/* Starts in epoch 0, in which only HELLO is taken. */
void link_init(const struct port *port, link_receiver receiver);

/* Reads what has arrived and gives good frames to the receiver, at most a few kilobytes a call so
 * that a flood cannot stop the engine. Returns the bytes read, or E_IO when the other end is gone.
 */
int link_poll(void);

/* Begins the epoch of a HELLO that was just received: both directions count from 0. */
void link_open(const struct frame *hello);

/* Whether a HELLO was ever received. */
int link_is_open(void);

/* Sends one frame. Returns 0 or E_IO, and never again tries the port after an E_IO. */
int link_send(uint8_t type, uint8_t channel, const uint8_t *payload, uint32_t size);

const struct link_counters *link_counters(void);

#endif
