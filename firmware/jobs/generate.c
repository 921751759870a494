/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/generate.h"

#include "jobs/pending.h"

int generate_ready(struct run *run)
{
    return run->job.sink->ready(run->job.context);
}

struct run_rows generate_rows(struct run *run)
{
    const struct job *job = &run->job;
    uint32_t left = pending_count(job->session), most = job->model->max_rows;
    if (left > most)
        return (struct run_rows){most, 0};
    return (struct run_rows){left, job->max_tokens > 0};
}

static void give_token(struct run *run, uint32_t token, uint32_t digest)
{
    uint64_t now = run->port->time_us();
    run->token_us = (uint32_t)(now - run->last_us);
    run->last_us = now;
    run->generated++;
    run->job.sink->token(run->job.context, run, token, digest);
}

/* From the logits of the last step to a token, which becomes the session's pending one. */
static void sample(struct run *run)
{
    const struct job *job = &run->job;
    float *logits = engine_logits(job->engine, 0);
    uint32_t digest = job->flags & WIRE_RUN_FLAG_DIGEST ? run_digest(logits, job->model->vocab) : 0;
    uint32_t token = engine_sample(job->engine, &job->sampler, job->session, logits);
    run_mark_first(run);
    /* There is room: the step before emptied this session's queue. */
    (void)pending_push(job->session, token);
    if (job_stops(job->stop_ids, job->stop_count, token))
        run->reason = WIRE_REASON_STOP;
    give_token(run, token, digest);
}

void generate_take(struct run *run)
{
    if (!run->generated)
        run_progress(run);
    if (!pending_count(run->job.session) && run->job.max_tokens)
        sample(run);
}

int generate_is_over(const struct run *run)
{
    return run->reason == WIRE_REASON_STOP || !pending_count(run->job.session) ||
           (run->generated && run->generated == run->job.max_tokens);
}
