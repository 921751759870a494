/* SPDX-License-Identifier: Apache-2.0 */
#include "gen/errors.h"
#include "common/crc32c.h"
#include "jobs/pending.h"
#include "jobs/job.h"
#include "jobs/stream.h"
#include "terminal/terminal.h"

/* Evaluates all that is pending; the last row's logits are for the first token. */
static int prefill(struct run *run)
{
    uint32_t left;
    while ((left = pending_count(run->job->session)) != 0) {
        uint32_t max_rows = run->job->model->max_rows;
        uint32_t count = left < max_rows ? left : max_rows;
        int error = run_step(run, count, count == left && run->job->max_tokens > 0);
        if (error)
            return error;
        run_progress(run);
    }
    return 0;
}

static void give_token(struct run *run, uint32_t token, uint32_t digest)
{
    uint64_t now = run->port->time_us();
    uint8_t bytes[4];
    if (run->job->terminal) {
        terminal_token(run->job, token);
        run->last_us = now;
        run->generated++;
        return;
    }
    le_put_u32(bytes, token);
    run->tokens_crc = crc32c_extend(run->tokens_crc, bytes, sizeof bytes);
    stream_put_token(token, (uint32_t)(now - run->last_us), digest);
    run->last_us = now;
    run->generated++;
    (void)stream_pump();
}

/* From the logits of the last step to a token, which becomes the session's pending one. */
static uint32_t sample(struct run *run)
{
    const struct job *job = run->job;
    float *logits = engine_logits(job->engine, 0);
    uint32_t digest = job->flags & WIRE_RUN_FLAG_DIGEST ? run_digest(logits, job->model->vocab) : 0;
    uint32_t token = engine_sample(job->engine, &job->sampler, job->session, logits);
    run_mark_first(run);
    /* There is room: the step before emptied this session's queue. */
    (void)pending_push(job->session, token);
    give_token(run, token, digest);
    return token;
}

/* A terminal is written to as the tokens are made. */
static int is_ready(void)
{
    return serve_job()->terminal || stream_has_room();
}

static int is_stop(const struct job *job, uint32_t token)
{
    for (uint32_t i = 0; i < job->stop_count; i++)
        if (job->stop_ids[i] == token)
            return 1;
    return 0;
}

void generate_run(const struct port *port, const struct job *job)
{
    struct run run;
    run_begin(&run, port, job);
    int error = prefill(&run);
    uint32_t reason = WIRE_REASON_LENGTH;
    while (!error && run.generated < job->max_tokens) {
        uint32_t token = sample(&run);
        if (is_stop(job, token)) {
            reason = WIRE_REASON_STOP;
            break;
        }
        if (run.generated < job->max_tokens)
            error = serve_wait(is_ready);
        if (!error && run.generated < job->max_tokens)
            error = run_step(&run, 1, 1);
    }
    if (!error && run.generated && port->slot)
        (void)port->slot->confirm(); /* if it fails, the next boot is one more trial */
    run.evaluated = run.evaluated < run.total ? run.evaluated : run.total;
    run_end(&run, error, reason);
}
