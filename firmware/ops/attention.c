/* SPDX-License-Identifier: Apache-2.0 */

/* Grouped-query attention over the sessions' pages, with an online softmax.
 *
 * Positions are taken in blocks of 64, one page each, and in partial results of 256, merged in
 * ascending order (docs/numerics.md). Many rows are shared between harts by row and KV head; a
 * single row by KV head and partial result, so that a model with few KV heads keeps all harts busy.
 */

#include "engine/pool.h"
#include "gen/image_format.h"
#include "ops/kv_page.h"
#include "ops/math.h"
#include "ops/ops.h"

#define PARTIAL_TOKENS 256u
#define RECORD_FLOATS  (LIMIT_HEAD_DIM + 2u)

/* One query head of one row. */
struct query {
    const struct op_attention *op;
    const struct step *step;
    const struct step_state *state;
    const struct step_row *row;
    uint32_t kv_head;
    float scale; /* what a raw dot product is multiplied by; KV8: the query's own scale included */
    const float *q;              /* [head_dim] */
    int8_t q_i8[LIMIT_HEAD_DIM]; /* KV8 */
};

/* A partial result: [head_dim] weighted values, then the greatest score and the sum of weights. */
static float *record_max(const struct query *q, float *record)
{
    return record + q->state->head_dim;
}

static float *record_sum(const struct query *q, float *record)
{
    return record + q->state->head_dim + 1;
}

/* Whose query it is; enough to merge and finish its results. */
static void query_find(struct query *q, const struct op_attention *op, const struct step *step,
                       uint32_t row, uint32_t head)
{
    q->op = op;
    q->step = step;
    q->state = &step->states[op->state];
    q->row = &step->rows[row];
    q->kv_head = head / (op->heads / q->state->kv_heads);
    q->q = op_f32_row(&op->q, row) + head * q->state->head_dim;
}

static void query_open(struct query *q, const struct op_attention *op, const struct step *step,
                       uint32_t row, uint32_t head)
{
    query_find(q, op, step, row, head);
    q->scale = op->scale;
    if (q->state->format == IMAGE_FORMAT_KV8)
        q->scale = kv_quantize_head(q->q, q->state->head_dim, q->q_i8, 1) * op->scale;
}

/* ---- which positions a row sees ---- */

/* The first position inside the window. */
static uint32_t window_start(const struct step_state *s, uint32_t position)
{
    return s->window && position >= s->window ? position - s->window + 1 : 0;
}

/* The first partial result from `chunk` on of which the row sees any position; it exists if it is
 * not beyond the row's own. */
static uint32_t chunk_next(const struct step_state *s, uint32_t position, uint32_t chunk)
{
    uint32_t first = window_start(s, position) / PARTIAL_TOKENS;
    if (chunk >= first || (uint64_t)chunk * PARTIAL_TOKENS < s->sinks)
        return chunk;
    return first;
}

struct span {
    uint32_t begin, end; /* slots of a page */
};

/* The slots of the block at `first` that the row sees: sinks, then the window's. Either may be
 * empty. */
static void block_spans(const struct step_state *s, uint32_t position, uint32_t first,
                        struct span spans[2])
{
    uint32_t end = position - first < KV_PAGE_TOKENS ? position - first + 1 : KV_PAGE_TOKENS;
    uint32_t start = window_start(s, position);
    uint32_t sinks = s->sinks > first ? s->sinks - first : 0;
    uint32_t begin = start > first ? start - first : 0;
    spans[0] = (struct span){0, sinks < end ? sinks : end};
    begin = begin > spans[0].end ? begin : spans[0].end;
    spans[1] = (struct span){begin < end ? begin : end, end};
}

/* ---- a block of 64 positions ---- */

/* scores[j] for the slots of both spans. */
static void block_scores(const struct query *q, uint8_t *page, const struct span spans[2],
                         float *scores)
{
    const struct step_state *s = q->state;
    const float *key_scales = kv_page_key_scales(s, page, q->kv_head);
    int32_t dots[KV_PAGE_TOKENS];
    int is_i8 = s->format == IMAGE_FORMAT_KV8;
    if (is_i8)
        kernels.dot_i8(q->q_i8, kv_page_keys_i8(s, page, q->kv_head), s->head_dim, dots);
    for (const struct span *span = spans; span < spans + 2; span++) {
        uint32_t begin = span->begin, count = span->end - begin;
        if (is_i8) {
            for (uint32_t j = begin; j < span->end; j++)
                scores[j] = (float)dots[j] * (q->scale * key_scales[j]);
        } else {
            const float *keys = kv_page_keys_f32(s, page, q->kv_head);
            kernels.dot_f32(q->q, keys + (size_t)begin * s->head_dim, s->head_dim, count,
                            scores + begin);
            for (uint32_t j = begin; j < span->end; j++)
                scores[j] *= q->scale;
        }
        for (uint32_t j = begin; q->op->softcap != 0.0f && j < span->end; j++)
            scores[j] = q->op->softcap * math_tanh(scores[j] / q->op->softcap);
    }
}

/* acc += weights times values of one span. */
static void block_values(const struct query *q, uint8_t *page, struct span span, float *weights,
                         float *acc)
{
    const struct step_state *s = q->state;
    size_t offset = (size_t)span.begin * s->head_dim;
    uint32_t count = span.end - span.begin;
    if (s->format == IMAGE_FORMAT_KV8) {
        const float *scales = kv_page_value_scales(s, page, q->kv_head);
        for (uint32_t j = span.begin; j < span.end; j++)
            weights[j] *= scales[j];
        const int8_t *values = kv_page_values_i8(s, page, q->kv_head);
        kernels.axpy_i8(weights + span.begin, values + offset, s->head_dim, count, acc);
    } else {
        const float *values = kv_page_values_f32(s, page, q->kv_head);
        kernels.axpy_f32(weights + span.begin, values + offset, s->head_dim, count, acc);
    }
}

/* Adds the block that starts at position `first` to a partial result. */
static void attend_block(const struct query *q, uint32_t first, float *record)
{
    struct span spans[2];
    block_spans(q->state, q->row->position, first, spans);
    if (spans[0].end == spans[0].begin && spans[1].end == spans[1].begin)
        return;
    uint8_t *page = step_page(q->step, q->state, q->row->session, first);
    float scores[KV_PAGE_TOKENS], weights[KV_PAGE_TOKENS] = {0};
    block_scores(q, page, spans, scores);

    float *sum = record_sum(q, record), old = *record_max(q, record), max = old;
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t j = spans[i].begin; j < spans[i].end; j++)
            max = scores[j] > max ? scores[j] : max;
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t j = spans[i].begin; j < spans[i].end; j++)
            weights[j] = math_exp(scores[j] - max);
    float keep = math_exp(old - max);
    *record_max(q, record) = max;
    *sum = math_fma(*sum, keep, kernels.sum(weights, KV_PAGE_TOKENS));
    for (uint32_t d = 0; d < q->state->head_dim; d++)
        record[d] *= keep;
    block_values(q, page, spans[0], weights, record);
    block_values(q, page, spans[1], weights, record);
}

/* ---- partial results ---- */

static void attend_chunk(const struct query *q, uint32_t chunk, float *record)
{
    __builtin_memset(record, 0, q->state->head_dim * sizeof(float));
    *record_max(q, record) = -__builtin_inff();
    *record_sum(q, record) = 0.0f;
    uint32_t first = chunk * PARTIAL_TOKENS;
    for (uint32_t i = 0; i < PARTIAL_TOKENS && first + i <= q->row->position; i += KV_PAGE_TOKENS)
        attend_block(q, first + i, record);
}

/* Adds `part`, which lies behind it, to `total`. */
static void merge(const struct query *q, float *total, float *part)
{
    float m1 = *record_max(q, total), m2 = *record_max(q, part);
    float max = m2 > m1 ? m2 : m1;
    float c1 = math_exp(m1 - max), c2 = math_exp(m2 - max);
    float *sum = record_sum(q, total);
    *record_max(q, total) = max;
    *sum = math_fma(*sum, c1, *record_sum(q, part) * c2);
    for (uint32_t d = 0; d < q->state->head_dim; d++)
        total[d] = math_fma(total[d], c1, part[d] * c2);
}

static void finish(const struct query *q, float *total, float *dst)
{
    float inverse = 1.0f / *record_sum(q, total);
    for (uint32_t d = 0; d < q->state->head_dim; d++)
        dst[d] = total[d] * inverse;
}

/* ---- sharing ---- */

/* One row and query head from the first position to the last. */
static void attend_head(const struct op_attention *a, const struct step *step, uint32_t row,
                        uint32_t head)
{
    struct query q;
    float total[RECORD_FLOATS], part[RECORD_FLOATS];
    query_open(&q, a, step, row, head);
    uint32_t position = q.row->position;
    uint32_t chunk = chunk_next(q.state, position, 0);
    attend_chunk(&q, chunk, total);
    while ((chunk = chunk_next(q.state, position, chunk + 1)) <= position / PARTIAL_TOKENS) {
        attend_chunk(&q, chunk, part);
        merge(&q, total, part);
    }
    finish(&q, total, op_f32_row(&a->dst, row) + head * q.state->head_dim);
}

static float *partial(const struct op_attention *a, uint32_t head, uint32_t i)
{
    return a->partial + ((size_t)head * a->chunks + i) * a->partial_record;
}

/* The hart's share of the partial results of the only row. Returns how many a head has. */
static uint32_t attend_partials(const struct op_attention *a, const struct step *step,
                                uint32_t hart, uint32_t harts)
{
    const struct step_state *s = &step->states[a->state];
    uint32_t group = a->heads / s->kv_heads, position = step->rows[0].position;
    uint32_t count = 0;
    for (uint32_t c = chunk_next(s, position, 0); c <= position / PARTIAL_TOKENS;
         c = chunk_next(s, position, c + 1), count++)
        for (uint32_t kv = 0; kv < s->kv_heads; kv++)
            for (uint32_t i = 0; i < group && (count * s->kv_heads + kv) % harts == hart; i++) {
                struct query q;
                query_open(&q, a, step, 0, kv * group + i);
                attend_chunk(&q, c, partial(a, kv * group + i, count));
            }
    return count;
}

static void attend_one_row(const struct op_attention *a, const struct step *step, uint32_t hart,
                           uint32_t harts)
{
    uint32_t count = attend_partials(a, step, hart, harts);
    pool_barrier(hart);
    for (uint32_t head = hart; head < a->heads; head += harts) {
        struct query q;
        query_find(&q, a, step, 0, head);
        float *total = partial(a, head, 0);
        for (uint32_t i = 1; i < count; i++)
            merge(&q, total, partial(a, head, i));
        finish(&q, total, op_f32_row(&a->dst, 0) + head * q.state->head_dim);
    }
}

void op_attention(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_attention *a = &op->attention;
    uint32_t kv_heads = step->states[a->state].kv_heads;
    uint32_t group = a->heads / kv_heads;
    if (step->row_count == 1 && harts > 1) {
        attend_one_row(a, step, hart, harts);
        return;
    }
    for (uint32_t u = hart; u < step->row_count * kv_heads; u += harts)
        for (uint32_t i = 0; i < group; i++)
            attend_head(a, step, u / kv_heads, u % kv_heads * group + i);
}
