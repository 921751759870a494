/* SPDX-License-Identifier: Apache-2.0 */

/* Grouped-query attention over the sessions' pages, with an online softmax.
 *
 * Positions are taken in blocks of 64, one page each, and in partial results of 256, merged in
 * ascending order (docs/numerics.md). The query heads of a KV head are taken by threes: a unit of
 * work. Many rows are shared between harts by row and unit; a single row by unit and partial
 * result, so that a model with few KV heads keeps all harts busy.
 */

#include "common/checked.h"
#include "common/math.h"
#include "common/pool.h"
#include "gen/errors.h"
#include "image/reader.h"
#include "ops/kv_page.h"

#define PARTIAL_TOKENS IMAGE_PARTIAL_TOKENS
#define RECORD_FLOATS  (LIMIT_HEAD_DIM + 16u) /* head_dim + 2 rounded up to 16 */

struct OP_BODY op_attention {
    struct op_f32 q;
    struct op_f32 dst;
    float *partial;          /* [chunks][heads] records, 64-byte aligned */
    uint32_t partial_record; /* floats a record: head_dim + 2 rounded up to 16 */
    uint32_t chunks;         /* most 256-position chunks that one row can see any position of */
    uint32_t state;
    uint32_t heads; /* a multiple of kv_heads, at most LIMIT_GROUP_HEADS times */
    float scale;
    float softcap; /* 0: none */
};
_Static_assert(sizeof(struct op_attention) <= OP_BODY_BYTES, "see op.h");

/* Query heads of one row that share a KV head. */
struct unit {
    const struct op_attention *op;
    const struct step *step;
    const struct step_state *state;
    const struct step_row *row;
    uint32_t kv_head;
    uint32_t head; /* the first one */
    uint32_t heads;
    const float *q;                             /* [heads][head_dim] */
    float *dst;                                 /* likewise */
    float scales[KERNEL_HEADS];                 /* what a raw dot product is multiplied by */
    int8_t q_i8[KERNEL_HEADS * LIMIT_HEAD_DIM]; /* KV8: [heads][head_dim] */
};

/* A partial result is a record a head: [head_dim] weighted values, then the greatest score and the
 * sum of weights. */
static float *record_max(const struct unit *u, float *record)
{
    return record + u->state->head_dim;
}

static float *record_sum(const struct unit *u, float *record)
{
    return record + u->state->head_dim + 1;
}

/* Units of one KV head. */
static uint32_t unit_parts(const struct op_attention *a, const struct step_state *s)
{
    return (a->heads / s->kv_heads + KERNEL_HEADS - 1) / KERNEL_HEADS;
}

/* Whose queries they are; enough to merge and finish their results. The heads of a KV head are
 * spread evenly over its parts. */
static void unit_find(struct unit *u, const struct op_attention *a, const struct step *step,
                      uint32_t row, uint32_t index)
{
    const struct step_state *s = &step->states[a->state];
    uint32_t group = a->heads / s->kv_heads, parts = unit_parts(a, s);
    uint32_t part = index % parts, first = group * part / parts;
    u->op = a;
    u->step = step;
    u->state = s;
    u->row = &step->rows[row];
    u->kv_head = index / parts;
    u->head = u->kv_head * group + first;
    u->heads = group * (part + 1) / parts - first;
    u->q = op_f32_row(&a->q, row) + u->head * s->head_dim;
    u->dst = op_f32_row(&a->dst, row) + u->head * s->head_dim;
}

static void unit_open(struct unit *u, const struct op_attention *a, const struct step *step,
                      uint32_t row, uint32_t index)
{
    unit_find(u, a, step, row, index);
    size_t head_dim = u->state->head_dim;
    for (size_t h = 0; h < u->heads; h++) {
        u->scales[h] = a->scale;
        if (u->state->format == IMAGE_FORMAT_KV8)
            u->scales[h] *= kernels.quantize_head(u->q + h * head_dim, (uint32_t)head_dim,
                                                  u->q_i8 + h * head_dim, 1);
    }
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

static void score_f32(const struct unit *u, const float *keys, uint32_t count,
                      float scores[KERNEL_HEADS][KV_PAGE_TOKENS])
{
    size_t head_dim = u->state->head_dim;
    for (uint32_t h = 0; h < u->heads; h++) {
        kernels.dot_f32(u->q + h * head_dim, keys, (uint32_t)head_dim, count, scores[h]);
        for (uint32_t j = 0; j < count; j++)
            scores[h][j] *= u->scales[h];
    }
}

/* Out of line, for its constants are many and it is rare. */
static __attribute__((noinline)) void cap_scores(const struct unit *u, uint32_t count,
                                                 float scores[KERNEL_HEADS][KV_PAGE_TOKENS])
{
    float softcap = u->op->softcap;
    for (uint32_t h = 0; h < u->heads; h++)
        for (uint32_t j = 0; j < count; j++)
            scores[h][j] = softcap * math_tanh(scores[h][j] / softcap);
}

/* scores[h][j] for the slots up to `end`, -inf from `hidden` up to `seen`. */
static void block_scores(const struct unit *u, uint8_t *page, uint32_t hidden, uint32_t seen,
                         uint32_t end, float scores[KERNEL_HEADS][KV_PAGE_TOKENS])
{
    const struct step_state *s = u->state;
    if (s->format == IMAGE_FORMAT_KV8)
        kernels.score_i8(u->q_i8, u->scales, u->heads, kv_page_keys_i8(s, page, u->kv_head),
                         kv_page_key_scales(s, page, u->kv_head), s->head_dim, end, scores[0]);
    else
        score_f32(u, kv_page_keys_f32(s, page, u->kv_head), end, scores);
    if (u->op->softcap != 0.0f)
        cap_scores(u, end, scores);
    for (uint32_t h = 0; hidden < seen && h < u->heads; h++)
        for (uint32_t j = hidden; j < seen; j++)
            scores[h][j] = -__builtin_inff();
}

/* scores become weights, times the values' scales; what the records hold is scaled to the new
 * maxima. */
static void block_weights(const struct unit *u, uint8_t *page, uint32_t end,
                          float scores[KERNEL_HEADS][KV_PAGE_TOKENS], float *records)
{
    float max[KERNEL_HEADS], sum[KERNEL_HEADS];
    const float *scales =
        u->state->format == IMAGE_FORMAT_KV8 ? kv_page_value_scales(u->state, page, u->kv_head) : 0;
    for (uint32_t h = 0; h < u->heads; h++)
        max[h] = *record_max(u, records + h * u->op->partial_record);
    kernels.softmax(scores[0], u->heads, end, scales, max, sum);
    for (uint32_t h = 0; h < u->heads; h++) {
        float *record = records + h * u->op->partial_record, keep = 1.0f;
        float before = *record_max(u, record);
        *record_max(u, record) = max[h];
        if (before != max[h] && before != -__builtin_inff()) {
            keep = math_exp(before - max[h]);
            for (uint32_t d = 0; d < u->state->head_dim; d++)
                record[d] *= keep;
        }
        *record_sum(u, record) = math_fma(*record_sum(u, record), keep, sum[h]);
    }
}

/* records += weights times values of one span, which is not empty. */
static void block_values(const struct unit *u, uint8_t *page, struct span span,
                         float weights[KERNEL_HEADS][KV_PAGE_TOKENS], float *records)
{
    const struct step_state *s = u->state;
    uint32_t stride = u->op->partial_record, count = span.end - span.begin;
    size_t offset = (size_t)span.begin * s->head_dim;
    if (s->format == IMAGE_FORMAT_KV8) {
        kernels.axpy_i8(weights[0] + span.begin, u->heads,
                        kv_page_values_i8(s, page, u->kv_head) + offset, s->head_dim, count,
                        records, stride);
        return;
    }
    const float *values = kv_page_values_f32(s, page, u->kv_head) + offset;
    for (uint32_t h = 0; h < u->heads; h++)
        kernels.axpy_f32(weights[h] + span.begin, values, s->head_dim, count, records + h * stride);
}

/* Adds the block that starts at position `first` to a partial result. */
static void attend_block(const struct unit *u, uint32_t first, float *records)
{
    struct span spans[2];
    float scores[KERNEL_HEADS][KV_PAGE_TOKENS];
    block_spans(u->state, u->row->position, first, spans);
    if (spans[0].end == spans[0].begin && spans[1].end == spans[1].begin)
        return;
    uint8_t *page = step_page(u->step, u->state, u->row->session, first);
    block_scores(u, page, spans[0].end, spans[1].begin, spans[1].end, scores);
    block_weights(u, page, spans[1].end, scores, records);
    for (uint32_t i = 0; i < 2; i++)
        if (spans[i].begin < spans[i].end)
            block_values(u, page, spans[i], scores, records);
}

/* ---- partial results ---- */

static void attend_chunk(const struct unit *u, uint32_t chunk, float *records)
{
    for (uint32_t h = 0; h < u->heads; h++) {
        float *record = records + h * u->op->partial_record;
        for (uint32_t d = 0; d < u->state->head_dim; d++)
            record[d] = 0.0f;
        *record_max(u, record) = -__builtin_inff();
        *record_sum(u, record) = 0.0f;
    }
    uint32_t first = chunk * PARTIAL_TOKENS;
    for (uint32_t i = 0; i < PARTIAL_TOKENS && first + i <= u->row->position; i += KV_PAGE_TOKENS)
        attend_block(u, first + i, records);
}

/* Adds `part`, which lies behind it, to `total`. */
static void merge(const struct unit *u, float *total, float *part)
{
    float m1 = *record_max(u, total), m2 = *record_max(u, part);
    float max = m2 > m1 ? m2 : m1;
    float c1 = math_exp(m1 - max), c2 = math_exp(m2 - max);
    float *sum = record_sum(u, total);
    *record_max(u, total) = max;
    *sum = math_fma(*sum, c1, *record_sum(u, part) * c2);
    for (uint32_t d = 0; d < u->state->head_dim; d++)
        total[d] = math_fma(total[d], c1, part[d] * c2);
}

static void finish(const struct unit *u, float *total, float *dst)
{
    float inverse = 1.0f / *record_sum(u, total);
    for (uint32_t d = 0; d < u->state->head_dim; d++)
        dst[d] = total[d] * inverse;
}

/* ---- sharing ---- */

/* One unit from the first position to the last. */
static void attend_unit(const struct op_attention *a, const struct step *step, uint32_t row,
                        uint32_t index)
{
    struct unit u;
    float totals[KERNEL_HEADS * RECORD_FLOATS], parts[KERNEL_HEADS * RECORD_FLOATS];
    unit_open(&u, a, step, row, index);
    uint32_t position = u.row->position, stride = a->partial_record;
    uint32_t chunk = chunk_next(u.state, position, 0);
    attend_chunk(&u, chunk, totals);
    while ((chunk = chunk_next(u.state, position, chunk + 1)) <= position / PARTIAL_TOKENS) {
        attend_chunk(&u, chunk, parts);
        for (uint32_t h = 0; h < u.heads; h++)
            merge(&u, totals + h * stride, parts + h * stride);
    }
    for (uint32_t h = 0; h < u.heads; h++)
        finish(&u, totals + h * stride, u.dst + (size_t)h * u.state->head_dim);
}

/* The i-th partial results of a unit's heads, one record after the other. */
static float *partials(const struct unit *u, uint32_t i)
{
    return u->op->partial + ((size_t)i * u->op->heads + u->head) * u->op->partial_record;
}

/* The hart's share of the partial results of the only row. Returns how many a unit has. */
static uint32_t attend_partials(const struct op_attention *a, const struct step *step,
                                uint32_t hart, uint32_t harts)
{
    const struct step_state *s = &step->states[a->state];
    uint32_t units = s->kv_heads * unit_parts(a, s), position = step->rows[0].position;
    uint32_t count = 0;
    for (uint32_t c = chunk_next(s, position, 0); c <= position / PARTIAL_TOKENS;
         c = chunk_next(s, position, c + 1), count++)
        for (uint32_t i = 0; i < units; i++)
            if ((count * units + i) % harts == hart) {
                struct unit u;
                unit_open(&u, a, step, 0, i);
                attend_chunk(&u, c, partials(&u, count));
            }
    return count;
}

/* The units of the only row, of which `count` partial results each are there. */
static void merge_partials(const struct op_attention *a, const struct step *step, uint32_t count,
                           uint32_t hart, uint32_t harts)
{
    const struct step_state *s = &step->states[a->state];
    for (uint32_t index = hart; index < s->kv_heads * unit_parts(a, s); index += harts) {
        struct unit u;
        unit_find(&u, a, step, 0, index);
        float *totals = partials(&u, 0);
        for (uint32_t i = 1; i < count; i++)
            for (uint32_t h = 0; h < u.heads; h++)
                merge(&u, totals + h * a->partial_record, partials(&u, i) + h * a->partial_record);
        for (uint32_t h = 0; h < u.heads; h++)
            finish(&u, totals + h * a->partial_record, u.dst + (size_t)h * s->head_dim);
    }
}

/* Whether the row sees positions of more than one partial result. */
static int has_partials(const struct step_state *s, uint32_t position)
{
    return chunk_next(s, position, chunk_next(s, position, 0) + 1) <= position / PARTIAL_TOKENS;
}

static void op_attention(const struct op *op, const struct step *step, uint32_t hart,
                         uint32_t harts)
{
    const struct op_attention *a = op_body(op);
    const struct step_state *s = &step->states[a->state];
    uint32_t units = s->kv_heads * unit_parts(a, s);
    if (step->row_count == 1 && harts > 1 && has_partials(s, step->rows[0].position)) {
        uint32_t count = attend_partials(a, step, hart, harts);
        pool_barrier(step->pool, hart);
        merge_partials(a, step, count, hart, harts);
        return;
    }
    for (uint32_t i = hart; i < step->row_count * units; i += harts)
        attend_unit(a, step, i / units, i % units);
}

/* partial_chunks() of host/schema/image.py. */
static uint32_t partial_chunks(const struct image_plan *plan, const struct step_state *state)
{
    uint64_t whole = checked_ceil(plan->context, PARTIAL_TOKENS);
    uint64_t seen = ((uint64_t)state->window + PARTIAL_TOKENS - 2) / PARTIAL_TOKENS + 1 +
                    checked_ceil(state->sinks, PARTIAL_TOKENS);

    if (!state->window || (plan->overflow == IMAGE_OVERFLOW_STOP && whole < seen))
        return (uint32_t)whole;
    return (uint32_t)seen;
}

static int decode_operands(struct reader *r, const uint8_t *p, const struct step_state *state,
                           struct op_attention *o)
{
    uint64_t width = (uint64_t)o->heads * state->head_dim;

    o->partial_record = (uint32_t)checked_align(state->head_dim + 2, 16);
    o->chunks = partial_chunks(r->plan, state);
    if (reader_read_f32(r, p + IMAGE_OP_ATTENTION_Q_OFFSET, width, &o->q) ||
        reader_write_f32(r, p + IMAGE_OP_ATTENTION_DST_OFFSET, width, &o->dst))
        return E_IMAGE_OP;
    return reader_scratch(r, p + IMAGE_OP_ATTENTION_PARTIAL_OFFSET,
                          (uint64_t)o->heads * o->chunks * o->partial_record, &o->partial);
}

static int decode_attention(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_attention o = {.state = image_op_attention_state(p),
                             .heads = image_op_attention_heads(p),
                             .scale = image_op_attention_scale(p),
                             .softcap = image_op_attention_softcap(p)};
    const struct step_state *state;

    if (op->domain != IMAGE_DOMAIN_ROWS || reader_read_state(r, o.state, &state) ||
        reader_check_width(o.heads) || o.heads % state->kv_heads ||
        reader_check_float(o.scale, 1e-6f, 1e6f) || reader_check_float(o.softcap, 0.0f, 1e6f))
        return E_IMAGE_OP;
    if (o.heads / state->kv_heads > LIMIT_GROUP_HEADS)
        return E_IMAGE_LIMIT;
    if (decode_operands(r, p, state, &o))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_attention = {
    .version = 1, .decode = decode_attention, .run = op_attention};
