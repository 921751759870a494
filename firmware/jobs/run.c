/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/run.h"

#include <string.h>

#include "common/crc32c.h"
#include "common/math.h"
#include "jobs/pending.h"

void run_begin(struct run *run, const struct port *port, const struct job *job)
{
    memset(run, 0, sizeof *run);
    run->job = *job;
    run->port = port;
    run->reason = WIRE_REASON_LENGTH;
    run->total = pending_count(job->session);
    run->started_us = run->last_us = port->time_us();
    run->started_instret = port->instret();
    run->started_cycles = port->cycles();
}

void run_progress(const struct run *run)
{
    const struct job *job = &run->job;
    if (run->total > job->model->max_rows)
        job->sink->progress(job->context, run);
}

void run_mark_first(struct run *run)
{
    if (run->first_us)
        return;
    run->first_us = run->port->time_us();
    run->first_instret = run->port->instret();
    run->first_cycles = run->port->cycles();
}

void run_end(struct run *run, int error)
{
    const struct port *port = run->port;
    if (!error && run->generated && port->slot)
        (void)port->slot->confirm(); /* if it fails, the next boot is one more trial */
    run->evaluated = run->evaluated < run->total ? run->evaluated : run->total;
    run_mark_first(run);
    run->job.sink->end(run->job.context, run, error, run->reason);
}

uint32_t run_session_length(const struct engine *engine, uint32_t session)
{
    return engine_length(engine, session) + pending_count(session);
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
