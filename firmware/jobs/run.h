/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_RUN_H
#define JOBS_RUN_H

/* A job under way: how far it is. Everything that a run remembers between two steps is here. */

#include <stdint.h>

#include "common/port.h"
#include "jobs/job.h"

/* The rows of a SCORE's last step, until their results are sent. */
struct run_scores {
    uint32_t position;                            /* of the first one */
    uint32_t count;                               /* 0: all is sent */
    uint32_t sent;                                /* messages of them */
    uint32_t tokens[WIRE_MAX_SCORE_RECORDS + 1u]; /* theirs, and the one behind or WIRE_NO_TOKEN */
};

struct run {
    struct job job;
    const struct port *port;
    uint32_t cancelled;
    uint32_t reason; /* WIRE_REASON_* of its end */
    uint32_t total;  /* pending tokens at the start */
    uint32_t evaluated;
    uint32_t generated;
    uint32_t token_us; /* time that the last token took */
    uint64_t last_us;  /* when the last token was made, or the request came */
    uint64_t started_us;
    uint64_t started_instret;
    uint64_t started_cycles;
    uint64_t first_us; /* when the prefill ended; 0: not yet */
    uint64_t first_instret;
    uint64_t first_cycles;
    struct run_scores scores;
};

/* Rows of a step: the oldest pending tokens of the run's session. */
struct run_rows {
    uint32_t count;
    uint32_t want; /* so many of them, the last ones, want logits */
};

void run_begin(struct run *run, const struct port *port, const struct job *job);

/* Tells the sink how far the evaluation is, where it takes more than one step. */
void run_progress(const struct run *run);

/* The first token is there, or the evaluation is over: prefill ends here. */
void run_mark_first(struct run *run);

/* Tells the sink that the run is over. */
void run_end(struct run *run, int error);

/* Positions of a session: those that the engine has evaluated, and the pending ones. */
uint32_t run_session_length(const struct engine *engine, uint32_t session);

/* CRC-32C over the bits of a row of logits; any NaN counts as the one of math_canonical(). */
uint32_t run_digest(const float *logits, uint32_t count);

#endif
