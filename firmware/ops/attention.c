/* SPDX-License-Identifier: Apache-2.0 */

/* Grouped-query attention over the sessions' pages, with an online softmax.
 *
 * Positions are taken in blocks of 64, one page each, and in partial results of 256, merged in
 * ascending order (docs/numerics.md). A unit of work is some query heads of one KV head, of one row
 * or of several consecutive positions of a session, which share what is loaded of a page. Many rows
 * are shared between harts by units; a single row by unit and partial result, so that a model with
 * few KV heads keeps all harts busy.
 *
 * Rows of a unit may see different positions. What a row does not see has score -inf and so weight
 * 0, and a block or partial result of which a row sees nothing leaves its sums as they are, bit for
 * bit.
 */

#include "common/checked.h"
#include "common/math.h"
#include "gen/errors.h"
#include "image/reader.h"
#include "ops/attention_unit.h"

/* ---- a block of 64 positions ---- */

/* What a partial result has of each query beside its values. */
struct online {
    float max[KERNEL_QUERIES], sum[KERNEL_QUERIES];
};

/* Out of line, for its constants are many and it is rare. */
static __attribute__((noinline)) void cap_scores(const struct unit *u, uint32_t count, scores x)
{
    float softcap = u->cut->op->softcap;
    for (uint32_t h = 0; h < u->queries; h++)
        for (uint32_t j = 0; j < count; j++)
            x[h][j] = softcap * math_tanh(x[h][j] / softcap) * MATH_LOG2_E;
}

/* Adds the block's sums, and finds what older values are to be multiplied by. */
static void online_add(const struct unit *u, const struct online *block, struct online *all,
                       float *keep)
{
    for (uint32_t h = 0; h < u->queries; h++) {
        keep[h] = 1.0f;
        if (block->max[h] != all->max[h])
            keep[h] = math_exp2(all->max[h] - block->max[h]);
        all->max[h] = block->max[h];
        all->sum[h] = math_fma(all->sum[h], keep[h], block->sum[h]);
    }
}

static void attend_block_i8(const struct unit *u, uint32_t first, uint32_t count, uint8_t *page,
                            struct online *all, float *records)
{
    const struct step_state *s = u->state;
    scores x;
    uint64_t weights[KERNEL_WEIGHT_WORDS(KERNEL_QUERIES)];
    float factors[KERNEL_QUERIES], keep[KERNEL_QUERIES];
    struct online block;
    kernels.score_i8(u->cut->packed, u->scales, u->queries, kv_page_keys_i8(s, page, u->kv_head),
                     kv_page_key_scales(s, page, u->kv_head), s->head_dim, count, x[0]);
    if (u->cut->op->softcap != 0.0f)
        cap_scores(u, count, x);
    block_mask(u, first, count, x);
    for (uint32_t h = 0; h < u->queries; h++)
        block.max[h] = all->max[h];
    kernels.weigh_i8(x[0], u->queries, count, kv_page_value_scales(s, page, u->kv_head), block.max,
                     block.sum, weights, factors);
    online_add(u, &block, all, keep);
    kernels.values_i8(weights, factors, keep, u->queries, kv_page_values_i8(s, page, u->kv_head),
                      s->head_dim, count, records, u->stride);
}

/* What stands in slots that a row does not see is no number that may be multiplied by 0. */
static void values_f32(const struct unit *u, uint32_t first, uint8_t *page, uint32_t query,
                       const float *weights, float *record)
{
    uint32_t head_dim = u->state->head_dim;
    struct span spans[2];
    block_spans(u, u->row->position + query / u->heads, first, spans);
    for (uint32_t i = 0; i < 2; i++)
        if (spans[i].begin < spans[i].end)
            kernels.axpy_f32(weights + spans[i].begin,
                             kv_page_values_f32(u->state, page, u->kv_head) +
                                 (size_t)spans[i].begin * head_dim,
                             head_dim, spans[i].end - spans[i].begin, record);
}

static void attend_block_f32(const struct unit *u, uint32_t first, uint32_t count, uint8_t *page,
                             struct online *all, float *records)
{
    const struct step_state *s = u->state;
    scores x;
    float keep[KERNEL_QUERIES];
    struct online block;
    for (uint32_t h = 0; h < u->queries; h++) {
        block.max[h] = all->max[h];
        kernels.dot_f32(unit_query(u, &u->cut->op->q, h), kv_page_keys_f32(s, page, u->kv_head),
                        s->head_dim, count, x[h]);
        for (uint32_t j = 0; j < count; j++)
            x[h][j] *= u->scales[h];
    }
    if (u->cut->op->softcap != 0.0f)
        cap_scores(u, count, x);
    block_mask(u, first, count, x);
    kernels.softmax(x[0], u->queries, count, block.max, block.sum);
    online_add(u, &block, all, keep);
    for (uint32_t h = 0; h < u->queries; h++) {
        float *record = records + h * u->stride;
        for (uint32_t d = 0; d < s->head_dim; d++)
            record[d] *= keep[h];
        values_f32(u, first, page, h, x[h], record);
    }
}

/* ---- partial results ---- */

/* The records of a unit's queries over the 256 positions of `chunk`. */
static void attend_chunk(const struct unit *u, uint32_t chunk, float *records)
{
    struct online all;
    uint32_t last = seen_last(u, u->row->position + u->rows - 1), first = chunk * PARTIAL_TOKENS;
    for (uint32_t h = 0; h < u->queries; h++) {
        all.max[h] = -__builtin_inff();
        all.sum[h] = 0.0f;
        for (uint32_t d = 0; d < u->state->head_dim; d++)
            records[h * u->stride + d] = 0.0f;
    }
    for (uint32_t i = 0; i < PARTIAL_TOKENS && first + i <= last; i += KV_PAGE_TOKENS) {
        uint32_t at = first + i, left = last - at + 1;
        if (!block_seen(u, at))
            continue;
        uint32_t count = left < KV_PAGE_TOKENS ? left : KV_PAGE_TOKENS;
        uint8_t *page = step_page(u->cut->step, u->state, u->row->session, at);
        if (u->state->format == IMAGE_FORMAT_KV8)
            attend_block_i8(u, at, count, page, &all, records);
        else
            attend_block_f32(u, at, count, page, &all, records);
    }
    for (uint32_t h = 0; h < u->queries; h++) {
        *record_max(u, records + h * u->stride) = all.max[h];
        *record_sum(u, records + h * u->stride) = all.sum[h];
    }
}

/* Adds `part`, which lies behind it, to `total`. */
static void merge(const struct unit *u, float *total, float *part)
{
    float m1 = *record_max(u, total), m2 = *record_max(u, part);
    float max = m2 > m1 ? m2 : m1;
    float c1 = math_exp2(m1 - max), c2 = math_exp2(m2 - max);
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
static void attend_unit(struct unit *u)
{
    float *totals = u->cut->totals, *results = u->cut->results;
    uint32_t first = seen_first(u, u->row->position);
    uint32_t last = seen_last(u, u->row->position + u->rows - 1);
    unit_open(u);
    uint32_t chunk = chunk_next(u->state, first, 0);
    attend_chunk(u, chunk, totals);
    while ((chunk = chunk_next(u->state, first, chunk + 1)) <= last / PARTIAL_TOKENS) {
        attend_chunk(u, chunk, results);
        for (uint32_t h = 0; h < u->queries; h++)
            merge(u, totals + h * u->stride, results + h * u->stride);
    }
    for (uint32_t h = 0; h < u->queries; h++)
        finish(u, totals + h * u->stride, unit_query(u, &u->cut->op->dst, h));
}

/* The i-th partial results of a unit's heads, one record after the other. */
static float *partials(const struct unit *u, uint32_t i)
{
    return u->cut->op->partial + ((size_t)i * u->cut->op->heads + u->head) * u->stride;
}

/* The hart's share of the partial results of the only row. Returns how many a unit has. */
static uint32_t attend_partials(const struct cut *c, uint32_t hart, uint32_t harts)
{
    uint32_t position = c->step->rows[0].position, count = 0;
    uint32_t first = window_start(c->state, position);
    for (uint32_t chunk = chunk_next(c->state, first, 0); chunk <= position / PARTIAL_TOKENS;
         chunk = chunk_next(c->state, first, chunk + 1), count++)
        for (uint32_t i = 0; i < c->units; i++)
            if ((count * c->units + i) % harts == hart) {
                struct unit u = unit_find(c, 0, 1, i);
                unit_open(&u);
                attend_chunk(&u, chunk, partials(&u, count));
            }
    return count;
}

/* The units of the only row, of which `count` partial results each are there. */
static void merge_partials(const struct cut *c, uint32_t count, uint32_t hart, uint32_t harts)
{
    for (uint32_t index = hart; index < c->units; index += harts) {
        struct unit u = unit_find(c, 0, 1, index);
        float *totals = partials(&u, 0);
        for (uint32_t i = 1; i < count; i++)
            for (uint32_t h = 0; h < u.heads; h++)
                merge(&u, totals + h * u.stride, partials(&u, i) + h * u.stride);
        for (uint32_t h = 0; h < u.heads; h++)
            finish(&u, totals + h * u.stride, unit_query(&u, &c->op->dst, h));
    }
}

/* Whether the row sees positions of more than one partial result. */
static int has_partials(const struct step_state *s, uint32_t position)
{
    uint32_t first = window_start(s, position);
    return chunk_next(s, first, chunk_next(s, first, 0) + 1) <= position / PARTIAL_TOKENS;
}

static void op_attention(const struct op *op, const struct step *step, uint32_t hart,
                         uint32_t harts)
{
    struct cut c = cut_rows(op_body(op), step, hart, harts);
    if (!c.op->whole && step->row_count == 1 && harts > 1 &&
        has_partials(c.state, step->rows[0].position)) {
        uint32_t count = attend_partials(&c, hart, harts);
        pool_barrier(step->pool, hart);
        merge_partials(&c, count, hart, harts);
        return;
    }
    uint32_t next = 0;
    for (uint32_t row = 0, rows; row < step->row_count; row += rows) {
        rows = unit_rows(&c, row);
        for (uint32_t i = 0; i < c.units; i++)
            if (next++ % harts == hart) {
                struct unit u = unit_find(&c, row, rows, i);
                attend_unit(&u);
            }
    }
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
                             .softcap = image_op_attention_softcap(p),
                             .whole = image_op_attention_whole(p),
                             .reach = image_op_attention_reach(p)};
    const struct step_state *state;

    if (o.whole > 1 || (o.reach && !o.whole) || op->domain != IMAGE_DOMAIN_ROWS ||
        reader_read_state(r, o.state, &state) || reader_check_width(o.heads) ||
        o.heads % state->kv_heads || reader_check_float(o.scale, 1e-6f, 1e6f) ||
        reader_check_float(o.softcap, 0.0f, 1e6f))
        return E_IMAGE_OP;
    if (o.whole && (!r->plan->whole || state->window))
        return E_IMAGE_OP;
    if (o.heads / state->kv_heads > LIMIT_GROUP_HEADS)
        return E_IMAGE_LIMIT;
    if (decode_operands(r, p, state, &o))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_attention = {
    .version = 2, .decode = decode_attention, .run = op_attention};
