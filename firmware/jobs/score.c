/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/score.h"

#include "common/math.h"
#include "jobs/pending.h"
#include "kernels/kernels.h"
#include "link/link.h"

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
    uint32_t vocab = run->job.model->vocab, best = kernels.argmax(logits, vocab);
    int known = target != WIRE_NO_TOKEN;
    wire_score_record_set_position(record, position);
    wire_score_record_set_target(record, target);
    wire_score_record_set_logprob(record, known ? logprob(logits, vocab, best, target) : 0.0f);
    wire_score_record_set_argmax(record, best);
    wire_score_record_set_digest(
        record, run->job.flags & WIRE_RUN_FLAG_DIGEST ? run_digest(logits, vocab) : 0);
}

uint32_t score_messages(const struct run *run)
{
    return (run->job.model->output_width + WIRE_MAX_LOGITS - 1u) / WIRE_MAX_LOGITS;
}

int score_send_part(const struct run *run, const float *values, uint32_t position, uint32_t part)
{
    uint32_t first = part * WIRE_MAX_LOGITS, left = run->job.model->output_width - first;
    if (!link_room())
        return 0;
    uint32_t count = left < WIRE_MAX_LOGITS ? left : WIRE_MAX_LOGITS;
    wire_logits_set_request(message, run->job.request);
    wire_logits_set_position(message, position);
    wire_logits_set_first(message, first);
    wire_logits_set_count(message, count);
    for (uint32_t i = 0; i < count; i++)
        le_put_f32(message + WIRE_LOGITS_SIZE + 4u * i, math_canonical(values[first + i]));
    link_send(WIRE_TYPE_LOGITS, WIRE_CHANNEL_STREAM, message, WIRE_LOGITS_SIZE + 4u * count);
    return 1;
}

static void send_scores(const struct run *run)
{
    const struct run_scores *scores = &run->scores;
    uint32_t count = scores->count;
    wire_scores_set_request(message, run->job.request);
    wire_scores_set_index(message, run->evaluated - count);
    wire_scores_set_count(message, count);
    for (uint32_t i = 0; i < count; i++)
        put_record(message + WIRE_SCORES_SIZE + i * WIRE_SCORE_RECORD_SIZE, run,
                   engine_logits(run->job.engine, i), scores->position + i, scores->tokens[i + 1]);
    link_send(WIRE_TYPE_SCORES, WIRE_CHANNEL_STREAM, message,
              WIRE_SCORES_SIZE + count * WIRE_SCORE_RECORD_SIZE);
}

/* Messages that a row's logits take. */
static uint32_t logits_messages(const struct run *run)
{
    return run->job.flags & WIRE_RUN_FLAG_LOGITS ? score_messages(run) : 0;
}

/* The SCORES first, then LOGITS row by row. */
static void send_next(struct run *run)
{
    struct run_scores *scores = &run->scores;
    uint32_t messages = logits_messages(run), at = scores->sent++;
    if (!at) {
        send_scores(run);
        return;
    }
    uint32_t row = (at - 1u) / messages;
    (void)score_send_part(run, engine_logits(run->job.engine, row), scores->position + row,
                          (at - 1u) % messages);
}

int score_pump(struct run *run)
{
    struct run_scores *scores = &run->scores;
    while (scores->count) {
        if (!link_room())
            return 0;
        send_next(run);
        if (scores->sent <= scores->count * logits_messages(run))
            continue;
        scores->count = 0;
        run_progress(run);
    }
    return 1;
}

static uint32_t rows_a_step(const struct engine_info *model)
{
    uint32_t rows =
        model->max_logit_rows < model->max_rows ? model->max_logit_rows : model->max_rows;
    return rows < WIRE_MAX_SCORE_RECORDS ? rows : WIRE_MAX_SCORE_RECORDS;
}

struct run_rows score_rows(struct run *run)
{
    struct run_scores *scores = &run->scores;
    uint32_t session = run->job.session, rows = rows_a_step(run->job.model);
    uint32_t copied = pending_copy(session, scores->tokens, rows + 1u);
    uint32_t count = copied < rows ? copied : rows;
    if (copied == count)
        scores->tokens[copied] = WIRE_NO_TOKEN;
    scores->position = engine_length(run->job.engine, session);
    return (struct run_rows){count, count};
}

void score_take(struct run *run)
{
    struct run_scores *scores = &run->scores;
    scores->count = engine_length(run->job.engine, run->job.session) - scores->position;
    scores->sent = 0;
}

int score_is_over(const struct run *run)
{
    return !run->scores.count && !pending_count(run->job.session);
}
