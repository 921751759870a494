/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_STATS_H
#define SERVE_STATS_H

/* STATS: what the ops cost and what the line did. */

#include "link/frame.h"
#include "serve/serve.h"

/* Answers it. */
void stats_receive(struct serve *serve, const struct frame *frame);

#endif
