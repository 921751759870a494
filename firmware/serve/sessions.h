/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_SESSIONS_H
#define SERVE_SESSIONS_H

/* What a session has: PROMPT appends tokens, TRUNCATE takes some away, ADOPT gives it a length
 * before its state comes as bytes. */

#include "link/frame.h"
#include "serve/serve.h"

/* Each answers its request. */
void sessions_receive_prompt(struct serve *serve, const struct frame *frame,
                             const struct engine_info *model);
void sessions_receive_truncate(struct serve *serve, const struct frame *frame,
                               const struct engine_info *model);
void sessions_receive_adopt(struct serve *serve, const struct frame *frame,
                            const struct engine_info *model);

/* Whether a host may use the session; if so, the terminal knows. Returns 0 or E_SESSION. */
int sessions_check(struct serve *serve, const struct engine_info *model, uint32_t session);

#endif
