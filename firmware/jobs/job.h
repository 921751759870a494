/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_JOB_H
#define JOBS_JOB_H

/* What is to be done with the pending tokens of a session: a GENERATE, SCORE or ENCODE, and who
 * hears of it. */

#include <stdint.h>

#include "engine/engine.h"
#include "gen/wire.h"

struct run;

/* Who hears of a run; `context` is the sink's own. Each is called between steps, never within. */
struct sink {
    /* Whether it can take another token. */
    int (*ready)(void *context);

    /* A token was made; `digest` is run_digest() of its logits, 0 where the job asks for none. */
    void (*token)(void *context, const struct run *run, uint32_t token, uint32_t digest);

    /* Pending tokens were evaluated, and it takes more than one step. */
    void (*progress)(void *context, const struct run *run);

    /* The run is over: with a reason (WIRE_REASON_*), or a negative enum error. */
    void (*end)(void *context, const struct run *run, int error, uint32_t reason);
};

struct job {
    uint32_t type;    /* WIRE_TYPE_GENERATE, _SCORE or _ENCODE */
    uint32_t request; /* of the host that asked for it; 0: no host did */
    struct engine *engine;
    const struct engine_info *model;
    uint32_t session;
    uint32_t flags; /* WIRE_RUN_FLAG_* */
    uint32_t max_tokens;
    uint32_t stop_count;
    uint32_t stop_ids[WIRE_MAX_STOP_IDS];
    struct sampler_params sampler;
    uint32_t stays; /* goes on where another host has come: its tokens are kept for who asks */
    const struct sink *sink;
    void *context; /* of the sink */
};

/* Whether a token ends an answer. */
static inline int job_stops(const uint32_t *stop_ids, uint32_t count, uint32_t token)
{
    for (uint32_t i = 0; i < count; i++)
        if (stop_ids[i] == token)
            return 1;
    return 0;
}

#endif
