/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/schedule.h"

#include <stddef.h>
#include <string.h>

#include "common/limits.h"
#include "gen/errors.h"
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

static int is_score(const struct run *run)
{
    return run->job.type == WIRE_TYPE_SCORE;
}

static int is_ready(struct run *run)
{
    return is_score(run) ? score_pump(run) : run->job.sink->ready(run->job.context);
}

static int is_over(const struct run *run)
{
    return is_score(run) ? score_is_over(run) : generate_is_over(run);
}

static void put_rows(const struct run *run, struct run_rows part)
{
    uint32_t session = run->job.session, length = engine_length(run->job.engine, session);
    (void)pending_copy(session, tokens, part.count);
    for (uint32_t i = 0; i < part.count; i++)
        rows[i] = (struct engine_row){session, length + i, tokens[i], i + part.want >= part.count};
}

/* Where it fails, all is still pending. */
static int step(struct run *run)
{
    struct run_rows part = is_score(run) ? score_rows(run) : generate_rows(run);
    put_rows(run, part);
    int error = engine_step(run->job.engine, rows, part.count);
    if (error)
        return error;
    pending_drop(run->job.session, part.count);
    run->evaluated += part.count;
    if (is_score(run))
        score_take(run);
    else
        generate_take(run);
    return 0;
}

int schedule_step(void)
{
    struct run *run = &schedule.run;
    int error = 0;
    if (!schedule.runs)
        return 0;
    if (run->cancelled)
        error = E_CANCELLED;
    else if (!is_ready(run))
        return 0;
    else if (!is_over(run))
        error = step(run);
    if (error || is_over(run)) {
        run_end(run, error);
        schedule.runs = 0;
    }
    return 1;
}
