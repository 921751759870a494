/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_DISPATCH_H
#define SERVE_DISPATCH_H

/* Which request a frame is, and whether it is obeyed now: while there is a run or the image is
 * checked, all but HELLO, CANCEL, PING, RESUME, FAIL and STATS without flags are refused as busy,
 * and without a model all that need one. */

#include "link/frame.h"

/* The link's receiver, with a struct serve as its context. */
void dispatch_receive(void *context, const struct frame *frame);

#endif
