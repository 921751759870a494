/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/schedule.h"

#include <stddef.h>
#include <string.h>

#include "common/limits.h"
#include "gen/errors.h"
#include "jobs/encode.h"
#include "jobs/generate.h"
#include "jobs/pending.h"
#include "jobs/score.h"

static struct {
    const struct port *port;
    int runs;
    int held;
    uint32_t request; /* of the hold */
    struct run run;
} schedule;

/* Of one step. */
static uint32_t tokens[LIMIT_ROWS];
static struct engine_row rows[LIMIT_ROWS];

void schedule_init(const struct port *port)
{
    memset(&schedule, 0, sizeof schedule);
    schedule.port = port;
    pending_init();
}

void schedule_start(const struct job *job)
{
    run_begin(&schedule.run, schedule.port, job);
    schedule.runs = 1;
}

const struct run *schedule_run(void)
{
    return schedule.runs ? &schedule.run : NULL;
}

void schedule_hold(uint32_t request)
{
    schedule.held = 1;
    schedule.request = request;
}

void schedule_release(void)
{
    schedule.held = 0;
}

int schedule_is_busy(uint32_t *request)
{
    *request = schedule.runs ? schedule.run.job.request : schedule.held ? schedule.request : 0;
    return schedule.runs || schedule.held;
}

void schedule_cancel(void)
{
    schedule.run.cancelled = 1;
}

int schedule_is_cancelled(void)
{
    return schedule.runs && schedule.run.cancelled;
}

void schedule_detach(void)
{
    if (!schedule.run.job.stays)
        schedule_cancel();
}

/* ---- one step ---- */

/* What a type of job does between two steps. */
static const struct work {
    uint32_t type;
    int (*ready)(struct run *run); /* sends what is left; whether a step may follow */
    struct run_rows (*rows)(struct run *run);
    void (*take)(struct run *run);
    int (*is_over)(const struct run *run);
} works[] = {
    {WIRE_TYPE_GENERATE, generate_ready, generate_rows, generate_take, generate_is_over},
    {WIRE_TYPE_SCORE, score_pump, score_rows, score_take, score_is_over},
    {WIRE_TYPE_ENCODE, encode_pump, encode_rows, encode_take, encode_is_over},
};

static const struct work *work_of(const struct run *run)
{
    uint32_t i = 0;
    while (works[i].type != run->job.type)
        i++;
    return &works[i];
}

static void put_rows(const struct run *run, struct run_rows part)
{
    uint32_t session = run->job.session, length = engine_length(run->job.engine, session);
    (void)pending_copy(session, tokens, part.count);
    for (uint32_t i = 0; i < part.count; i++)
        rows[i] = (struct engine_row){session, length + i, tokens[i], i + part.want >= part.count};
}

/* Where it fails, all is still pending. */
static int step(struct run *run, const struct work *work)
{
    struct run_rows part = work->rows(run);
    put_rows(run, part);
    int error = engine_step(run->job.engine, rows, part.count);
    if (error)
        return error;
    pending_drop(run->job.session, part.count);
    run->evaluated += part.count;
    work->take(run);
    return 0;
}

int schedule_step(void)
{
    struct run *run = &schedule.run;
    int error = 0;
    if (!schedule.runs)
        return 0;
    const struct work *work = work_of(run);
    if (run->cancelled)
        error = E_CANCELLED;
    else if (!work->ready(run))
        return 0;
    else if (!work->is_over(run))
        error = step(run, work);
    if (error || work->is_over(run)) {
        run_end(run, error);
        schedule.runs = 0;
    }
    return 1;
}
