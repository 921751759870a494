/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_SCORE_H
#define JOBS_SCORE_H

/* SCORE: how likely each pending token is behind those before it. Results go to the host as they
 * are made, and none is kept. */

#include "jobs/run.h"

/* What the run evaluates next. */
struct run_rows score_rows(struct run *run);

/* The rows were evaluated: their results are to be sent. */
void score_take(struct run *run);

/* Sends what the link has room for. Returns whether no result is left to be sent. */
int score_pump(struct run *run);

int score_is_over(const struct run *run);

/* Messages that a row of logits, or another result, takes; and sending one of them, where the link
 * has room. Returns whether it had. */
uint32_t score_messages(const struct run *run);
int score_send_part(const struct run *run, const float *values, uint32_t position, uint32_t part);

#endif
