/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/encode.h"

#include "jobs/pending.h"
#include "jobs/score.h"

/* A model that pools keeps one result of a step, any other one of each row. */
static uint32_t wanted(const struct run *run, uint32_t rows)
{
    uint32_t most = run->job.model->max_logit_rows;
    return rows < most ? rows : most;
}

struct run_rows encode_rows(struct run *run)
{
    uint32_t rows = pending_count(run->job.session);
    return (struct run_rows){rows, wanted(run, rows)};
}

void encode_take(struct run *run)
{
    struct run_scores *results = &run->scores;
    uint32_t session = run->job.session;
    results->count = wanted(run, engine_length(run->job.engine, session));
    results->sent = 0;
    (void)engine_truncate(run->job.engine, session, 0);
}

int encode_pump(struct run *run)
{
    struct run_scores *results = &run->scores;
    uint32_t messages = score_messages(run);
    while (results->sent < results->count * messages) {
        uint32_t row = results->sent / messages, part = results->sent % messages;
        if (!score_send_part(run, engine_logits(run->job.engine, row), row, part))
            return 0;
        results->sent++;
    }
    results->count = 0;
    return 1;
}

int encode_is_over(const struct run *run)
{
    return !run->scores.count && !pending_count(run->job.session);
}
