/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/job.h"

#include <string.h>

#include "common/limits.h"
#include "common/math.h"
#include "gen/errors.h"
#include "common/crc32c.h"
#include "link/answer.h"
#include "link/link.h"
#include "jobs/pending.h"
#include "jobs/stream.h"
#include "terminal/terminal.h"

static uint32_t tokens[LIMIT_ROWS];
static struct engine_row rows[LIMIT_ROWS];

void run_begin(struct run *run, const struct port *port, const struct job *job)
{
    memset(run, 0, sizeof *run);
    run->port = port;
    run->job = job;
    run->total = pending_count(job->session);
    run->last_us = job->started_us;
}

int run_step(struct run *run, uint32_t count, uint32_t want)
{
    uint32_t session = run->job->session, length = engine_length(run->job->engine, session);
    count = pending_copy(session, tokens, count);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct engine_row){session, length + i, tokens[i], i + want >= count};
    int error = engine_step(run->job->engine, rows, count);
    if (error)
        return error;
    pending_drop(session, count);
    run->evaluated += count;
    return 0;
}

void run_progress(const struct run *run)
{
    if (run->total <= run->job->model->max_rows || run->job->terminal)
        return;
    uint8_t p[WIRE_PROGRESS_SIZE];
    wire_progress_set_request(p, run->job->request);
    wire_progress_set_done(p, run->evaluated);
    wire_progress_set_total(p, run->total);
    link_send_unnumbered(WIRE_TYPE_PROGRESS, p, sizeof p);
}

void run_mark_first(struct run *run)
{
    if (run->first_us)
        return;
    run->first_us = run->port->time_us();
    run->first_instret = run->port->instret();
    run->first_cycles = run->port->cycles();
}

static void end_done(struct run *run, uint32_t reason)
{
    const struct job *job = run->job;
    run_mark_first(run);
    uint8_t p[WIRE_DONE_SIZE];
    wire_done_set_request(p, job->request);
    wire_done_set_reason(p, reason);
    wire_done_set_evaluated(p, run->evaluated);
    wire_done_set_generated(p, run->generated);
    wire_done_set_length(p, engine_length(job->engine, job->session) + pending_count(job->session));
    wire_done_set_tokens_crc(p, run->tokens_crc);
    wire_done_set_first_us(p, run->first_us - job->started_us);
    wire_done_set_total_us(p, run->port->time_us() - job->started_us);
    wire_done_set_prefill_instret(p, run->first_instret - job->started_instret);
    wire_done_set_prefill_cycles(p, run->first_cycles - job->started_cycles);
    wire_done_set_decode_instret(p, run->port->instret() - run->first_instret);
    wire_done_set_decode_cycles(p, run->port->cycles() - run->first_cycles);
    stream_end(WIRE_TYPE_DONE, p, sizeof p);
}

static void end_error(const struct run *run, int error)
{
    uint8_t p[WIRE_ERROR_SIZE];
    answer_put_error(p, run->job->request, run->job->type, error, run->evaluated);
    stream_end(WIRE_TYPE_ERROR, p, sizeof p);
}

void run_end(struct run *run, int error, uint32_t reason)
{
    if (run->job->terminal)
        terminal_end(run, error, reason);
    else if (!error)
        end_done(run, reason);
    else if (error == E_CONTEXT_FULL)
        end_done(run, WIRE_REASON_CONTEXT_FULL);
    else if (error == E_CANCELLED)
        end_done(run, WIRE_REASON_CANCELLED);
    else
        end_error(run, error);
}

uint32_t run_digest(const float *logits, uint32_t count)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[4];
        le_put_f32(bytes, math_canonical(logits[i]));
        crc = crc32c_extend(crc, bytes, sizeof bytes);
    }
    return crc;
}
