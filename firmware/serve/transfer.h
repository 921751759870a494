/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_TRANSFER_H
#define SERVE_TRANSFER_H

/* Bytes of an image, of a session's state or of a slot of the medium, by place: READ, WRITE, SUM
 * and STATE of docs/protocol.md. Nothing is remembered between two of them, so an interrupted
 * transfer goes on by comparing sums.
 */

#include "link/frame.h"
#include "serve/serve.h"

/* Each answers its request. */
void transfer_receive_read(struct serve *serve, const struct frame *frame);
void transfer_receive_write(struct serve *serve, const struct frame *frame);
void transfer_receive_sum(struct serve *serve, const struct frame *frame);
void transfer_receive_state(struct serve *serve, const struct frame *frame,
                            const struct engine_info *model);

#endif
