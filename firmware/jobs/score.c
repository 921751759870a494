/* SPDX-License-Identifier: Apache-2.0 */
#include "common/limits.h"
#include "common/math.h"
#include "gen/errors.h"
#include "kernels/kernels.h"
#include "link/link.h"
#include "jobs/pending.h"
#include "jobs/job.h"

static uint8_t message[WIRE_MAX_PAYLOAD];

/* Natural logarithm of a sum of exponentials that has a 1 in it, x in [1, 2^31); more where logits
 * are no numbers, and then the result is none that means anything. The series in (m - 1) / (m + 1),
 * |.| <= 0.172, ends below 1e-13. */
static double log_of_sum(double x)
{
    int exponent = 0;
    for (; x > 1.4142135623730951 && exponent < 64; exponent++)
        x *= 0.5;
    double s = (x - 1.0) / (x + 1.0), square = s * s, sum = 0.0;
    for (int k = 15; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return 2.0 * s * sum + exponent * 0.6931471805599453;
}

static float logprob(const float *logits, uint32_t count, uint32_t best, uint32_t target)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < count; i++)
        sum += math_exp(logits[i] - logits[best]);
    return math_canonical((float)((double)logits[target] - logits[best] - log_of_sum(sum)));
}

static void put_record(uint8_t *record, const struct run *run, const float *logits,
                       uint32_t position, uint32_t target)
{
    uint32_t vocab = run->job->model->vocab, best = kernels.argmax(logits, vocab);
    int known = target != WIRE_NO_TOKEN;
    wire_score_record_set_position(record, position);
    wire_score_record_set_target(record, target);
    wire_score_record_set_logprob(record, known ? logprob(logits, vocab, best, target) : 0.0f);
    wire_score_record_set_argmax(record, best);
    wire_score_record_set_digest(
        record, run->job->flags & WIRE_RUN_FLAG_DIGEST ? run_digest(logits, vocab) : 0);
}

static int has_room(void)
{
    return link_room() != 0;
}

/* Returns 0 or E_CANCELLED: the host may be slow, and nothing of this is kept. */
static int send_results(uint8_t type, uint32_t size)
{
    int error = serve_wait(has_room);
    if (!error)
        link_send(type, WIRE_CHANNEL_STREAM, message, size);
    return error;
}

static int send_logits(const struct run *run, const float *logits, uint32_t position)
{
    uint32_t vocab = run->job->model->vocab;
    for (uint32_t first = 0; first < vocab; first += WIRE_MAX_LOGITS) {
        uint32_t count = vocab - first < WIRE_MAX_LOGITS ? vocab - first : WIRE_MAX_LOGITS;
        wire_logits_set_request(message, run->job->request);
        wire_logits_set_position(message, position);
        wire_logits_set_first(message, first);
        wire_logits_set_count(message, count);
        for (uint32_t i = 0; i < count; i++)
            le_put_f32(message + WIRE_LOGITS_SIZE + 4u * i, math_canonical(logits[first + i]));
        int error = send_results(WIRE_TYPE_LOGITS, WIRE_LOGITS_SIZE + 4u * count);
        if (error)
            return error;
    }
    return 0;
}

/* One SCORES of the rows of the last step; targets[i] follows row i. */
static int send_scores(const struct run *run, uint32_t position, const uint32_t *targets,
                       uint32_t count)
{
    wire_scores_set_request(message, run->job->request);
    wire_scores_set_index(message, run->evaluated - count);
    wire_scores_set_count(message, count);
    for (uint32_t i = 0; i < count; i++)
        put_record(message + WIRE_SCORES_SIZE + i * WIRE_SCORE_RECORD_SIZE, run,
                   engine_logits(run->job->engine, i), position + i, targets[i]);
    return send_results(WIRE_TYPE_SCORES, WIRE_SCORES_SIZE + count * WIRE_SCORE_RECORD_SIZE);
}

static uint32_t rows_a_step(const struct engine_info *model)
{
    uint32_t rows =
        model->max_logit_rows < model->max_rows ? model->max_logit_rows : model->max_rows;
    return rows < WIRE_MAX_SCORE_RECORDS ? rows : WIRE_MAX_SCORE_RECORDS;
}

static int score_step(struct run *run)
{
    uint32_t tokens[WIRE_MAX_SCORE_RECORDS + 1u];
    uint32_t session = run->job->session, position = engine_length(run->job->engine, session),
             rows = rows_a_step(run->job->model);
    uint32_t copied = pending_copy(session, tokens, rows + 1u);
    uint32_t count = copied < rows ? copied : rows;
    if (copied == count)
        tokens[copied] = WIRE_NO_TOKEN;
    int error = run_step(run, count, count);
    if (error)
        return error;
    error = send_scores(run, position, tokens + 1, count);
    for (uint32_t i = 0; !error && run->job->flags & WIRE_RUN_FLAG_LOGITS && i < count; i++)
        error = send_logits(run, engine_logits(run->job->engine, i), position + i);
    run_progress(run);
    return error;
}

void score_run(const struct port *port, const struct job *job)
{
    struct run run;
    run_begin(&run, port, job);
    int error = 0;
    while (!error && pending_count(job->session))
        error = score_step(&run);
    run_end(&run, error, WIRE_REASON_LENGTH);
}
