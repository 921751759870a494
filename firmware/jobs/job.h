/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_JOB_H
#define JOBS_JOB_H

/* What GENERATE and SCORE share: evaluating pending tokens, PROGRESS, DONE. */

#include <stdint.h>

#include "serve/serve.h"
#include "common/port.h"

struct run {
    const struct port *port;
    const struct job *job;
    uint32_t total; /* pending tokens at the start */
    uint32_t evaluated;
    uint32_t generated;
    uint32_t tokens_crc;
    uint64_t last_us; /* when the last token was sent, or the request came */
    uint64_t first_us;
    uint64_t first_instret;
    uint64_t first_cycles;
};

void run_begin(struct run *run, const struct port *port, const struct job *job);

/* Evaluates the `count` oldest pending tokens of the job's session, at most LIMIT_ROWS, the last
 * `want` of them with logits, and drops them. Returns 0 or what engine_step() returned, with all
 * still pending. */
int run_step(struct run *run, uint32_t count, uint32_t want);

/* PROGRESS, where the evaluation takes more than one step. */
void run_progress(const struct run *run);

/* The first token is there, or the evaluation is over: prefill ends here. */
void run_mark_first(struct run *run);

/* DONE for E_OK (with `reason`), E_CONTEXT_FULL and E_CANCELLED; ERROR for others. */
void run_end(struct run *run, int error, uint32_t reason);

/* CRC-32C over the bits of a row of logits; any NaN counts as the one of math_canonical(). */
uint32_t run_digest(const float *logits, uint32_t count);

void generate_run(const struct port *port, const struct job *job);
void score_run(const struct port *port, const struct job *job);

#endif
