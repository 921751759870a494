/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_TRANSFER_H
#define SERVE_TRANSFER_H

/* Bytes of an image, of a session's state or of a slot of the medium, by place: READ, WRITE, SUM
 * and STATE of docs/protocol.md. Nothing is remembered between two of them, so an interrupted
 * transfer goes on by comparing sums.
 */

#include "engine/engine.h"
#include "link/frame.h"
#include "common/port.h"

void transfer_init(const struct port *port, struct engine *engine);

/* Each answers its request. */
void transfer_receive_read(const struct frame *frame);
void transfer_receive_write(const struct frame *frame);
void transfer_receive_sum(const struct frame *frame);
void transfer_receive_state(const struct frame *frame, const struct engine_info *model);

#endif
