/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_HELLO_H
#define SERVE_HELLO_H

/* HELLO: who the device is, for who asks and for who does not know it. */

#include "link/frame.h"
#include "serve/serve.h"

/* Begins the epoch of a HELLO, and answers it. */
void hello_receive(struct serve *serve, const struct frame *frame);

/* Tells it unasked. */
void hello_announce(struct serve *serve);

/* Serves the line: receives, sends what is due, announces the device to who does not know it.
 * Returns the bytes read, or E_IO when the other end is gone. */
int hello_serve_line(struct serve *serve);

#endif
