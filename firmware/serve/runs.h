/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_RUNS_H
#define SERVE_RUNS_H

/* Runs of a host: GENERATE, SCORE and ENCODE begin one, CANCEL ends it, RESUME takes up its record.
 */

#include "link/frame.h"
#include "serve/serve.h"

/* Each answers its request; of those the stream is the answer. */
void runs_receive_generate(struct serve *serve, const struct frame *frame,
                           const struct engine_info *model);
void runs_receive_score(struct serve *serve, const struct frame *frame,
                        const struct engine_info *model);
void runs_receive_encode(struct serve *serve, const struct frame *frame,
                         const struct engine_info *model);
void runs_receive_resume(struct serve *serve, const struct frame *frame,
                         const struct engine_info *model);
void runs_receive_cancel(struct serve *serve, const struct frame *frame);

#endif
