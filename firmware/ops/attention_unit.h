/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPS_ATTENTION_UNIT_H
#define OPS_ATTENTION_UNIT_H

/* What attention works on at once: some query heads of one KV head, of one row or of consecutive
 * rows of a session; which rows and heads go together, whose queries they are, and which positions
 * their rows see. */

#include "common/limits.h"
#include "common/math.h"
#include "common/pool.h"
#include "image/op.h"
#include "kernels/kernels.h"
#include "ops/kv_page.h"

#define PARTIAL_TOKENS IMAGE_PARTIAL_TOKENS
#define LEAST_HEADS    3u /* of a unit where there are more harts than units */

struct OP_BODY op_attention {
    struct op_f32 q;
    struct op_f32 dst;
    float *partial;          /* [chunks][heads] records, 64-byte aligned */
    uint32_t partial_record; /* floats a record: head_dim + 2 rounded up to 16 */
    uint32_t chunks;         /* most 256-position chunks that one row can see any position of */
    uint32_t state;
    uint32_t heads; /* a multiple of kv_heads, at most LIMIT_GROUP_HEADS times */
    float scale;
    float softcap;  /* 0: none */
    uint32_t whole; /* a row sees all of its sequence, which is in this step */
    uint32_t reach; /* whole: positions so far away at most; 0: all */
};
_Static_assert(sizeof(struct op_attention) <= OP_BODY_BYTES, "see op.h");

/* How the rows and heads of a step are cut into units, and a hart's scratch for one of them. */
struct cut {
    const struct op_attention *op;
    const struct step *step;
    const struct step_state *state;
    uint32_t parts; /* of a KV head's query heads, which are spread over them evenly */
    uint32_t units; /* of a row, or of the same heads of several */
    uint32_t rows;  /* most of a unit */
    float *totals;  /* records of a unit's queries */
    float *results; /* likewise */
    uint64_t *packed;
};

/* Queries: heads first, then rows. */
struct unit {
    const struct cut *cut;
    const struct step_state *state;
    const struct step_row *row; /* the first one */
    uint32_t rows, heads, queries;
    uint32_t kv_head;
    uint32_t head;                /* the first one */
    uint32_t index;               /* of the first row */
    uint32_t last;                /* whole: position of the sequence's last row */
    uint32_t stride;              /* floats from record to record */
    float scales[KERNEL_QUERIES]; /* what a raw dot product is multiplied by */
};

typedef float scores[KERNEL_QUERIES][KV_PAGE_TOKENS];

/* A partial result is a record a query: [head_dim] weighted values, then the greatest score and the
 * sum of weights. */
static inline float *record_max(const struct unit *u, float *record)
{
    return record + u->state->head_dim;
}

static inline float *record_sum(const struct unit *u, float *record)
{
    return record + u->state->head_dim + 1;
}

/* ---- units ---- */

/* Scratch of a unit of so many queries. */
static inline size_t unit_bytes(const struct op_attention *a, const struct step_state *s,
                                uint32_t queries)
{
    return 2 * sizeof(float) * queries * a->partial_record +
           sizeof(uint64_t) * KERNEL_QUERY_WORDS(queries, s->head_dim);
}

#define MOST_RECORD (LIMIT_HEAD_DIM + 16u)
_Static_assert(LIMIT_PACKED_BYTES / POOL_MAX_HARTS / 64 * 64 >=
                   2 * sizeof(float) * MOST_RECORD + sizeof(uint64_t) * LIMIT_HEAD_DIM,
               "a hart's scratch holds a unit of one query");

static inline uint32_t ceiling(uint32_t n, uint32_t d)
{
    return (n + d - 1) / d;
}

static inline struct cut cut_rows(const struct op_attention *a, const struct step *step,
                                  uint32_t hart, uint32_t harts)
{
    const struct step_state *s = &step->states[a->state];
    size_t share = LIMIT_PACKED_BYTES / harts / 64 * 64;
    uint32_t group = a->heads / s->kv_heads, most = kernels.queries;
    while (unit_bytes(a, s, most) > share)
        most--;
    struct cut c = {.op = a, .step = step, .state = s, .parts = ceiling(group, most)};
    uint32_t finest = ceiling(group, LEAST_HEADS);
    while (c.parts < finest && step->row_count * s->kv_heads * c.parts < harts)
        c.parts++;
    c.units = s->kv_heads * c.parts;
    c.rows = most / ceiling(group, c.parts);
    uint32_t fair = step->row_count * c.units / (2 * harts);
    if (harts > 1 && c.rows > fair)
        c.rows = fair ? fair : 1;
    c.totals = (float *)(void *)(step->packed + hart * share);
    c.results = c.totals + (size_t)most * a->partial_record;
    c.packed = (uint64_t *)(void *)(c.results + (size_t)most * a->partial_record);
    return c;
}

/* How many rows from `row` on are consecutive positions of one session, as far as a unit takes
 * them. */
static inline uint32_t unit_rows(const struct cut *c, uint32_t row)
{
    const struct step_row *first = &c->step->rows[row];
    uint32_t n = 1;
    while (n < c->rows && row + n < c->step->row_count && first[n].session == first->session &&
           first[n].position == first->position + n)
        n++;
    return n;
}

/* Whose queries they are; enough to merge and finish their results. */
static inline struct unit unit_find(const struct cut *c, uint32_t row, uint32_t rows,
                                    uint32_t index)
{
    uint32_t group = c->op->heads / c->state->kv_heads;
    uint32_t part = index % c->parts, first = group * part / c->parts;
    struct unit u;
    u.cut = c;
    u.state = c->state;
    u.row = &c->step->rows[row];
    u.rows = rows;
    u.heads = group * (part + 1) / c->parts - first;
    u.queries = u.rows * u.heads;
    u.kv_head = index / c->parts;
    u.head = u.kv_head * group + first;
    u.index = row;
    u.last = u.row[rows - 1].position;
    for (uint32_t i = row + rows; c->op->whole && i < c->step->row_count; i++)
        if (c->step->rows[i].session == u.row->session)
            u.last = c->step->rows[i].position;
    u.stride = c->op->partial_record;
    return u;
}

/* A query's part of the rows of an operand. */
static inline float *unit_query(const struct unit *u, const struct op_f32 *of, uint32_t query)
{
    return op_f32_row(of, u->index + query / u->heads) +
           (size_t)(u->head + query % u->heads) * u->state->head_dim;
}

/* Scales and packs the queries; what is quantized lies where results will. */
static inline void unit_open(struct unit *u)
{
    const struct op_attention *a = u->cut->op;
    uint32_t head_dim = u->state->head_dim;
    int8_t *to = (int8_t *)u->cut->results;
    __builtin_memset(u->scales, 0, sizeof u->scales);
    for (uint32_t i = 0; i < u->queries; i++) {
        u->scales[i] = a->softcap != 0.0f ? a->scale : a->scale * MATH_LOG2_E;
        if (u->state->format == IMAGE_FORMAT_KV8)
            u->scales[i] *= kernels.quantize_head(unit_query(u, &a->q, i), head_dim,
                                                  to + (size_t)i * head_dim, 1);
    }
    if (u->state->format == IMAGE_FORMAT_KV8)
        kernels.pack_queries(to, u->queries, head_dim, u->cut->packed);
}

/* ---- which positions a row sees ---- */

/* The first position inside the window. */
static inline uint32_t window_start(const struct step_state *s, uint32_t position)
{
    return s->window && position >= s->window ? position - s->window + 1 : 0;
}

/* The first position behind the sinks, and the last one, that the unit's row at `position` sees. */
static inline uint32_t seen_first(const struct unit *u, uint32_t position)
{
    uint32_t reach = u->cut->op->reach;
    if (!u->cut->op->whole)
        return window_start(u->state, position);
    return reach && position > reach ? position - reach : 0;
}

static inline uint32_t seen_last(const struct unit *u, uint32_t position)
{
    uint32_t reach = u->cut->op->reach;
    if (!u->cut->op->whole)
        return position;
    return reach && u->last - position > reach ? position + reach : u->last;
}

/* The first partial result from `chunk` on of which a row that sees positions from `first` on sees
 * any; it exists if it is not beyond the last that the row sees. */
static inline uint32_t chunk_next(const struct step_state *s, uint32_t first, uint32_t chunk)
{
    first /= PARTIAL_TOKENS;
    if (chunk >= first || (uint64_t)chunk * PARTIAL_TOKENS < s->sinks)
        return chunk;
    return first;
}

struct span {
    uint32_t begin, end; /* slots of a page */
};

/* The slots of the block at `first` that the unit's row at `position` sees: sinks, then what is
 * behind them. Either may be empty. */
static inline void block_spans(const struct unit *u, uint32_t position, uint32_t first,
                               struct span spans[2])
{
    uint32_t last = seen_last(u, position), start = seen_first(u, position);
    uint32_t end = last < first                    ? 0
                   : last - first < KV_PAGE_TOKENS ? last - first + 1
                                                   : KV_PAGE_TOKENS;
    uint32_t sinks = u->state->sinks > first ? u->state->sinks - first : 0;
    uint32_t begin = start > first ? start - first : 0;
    spans[0] = (struct span){0, sinks < end ? sinks : end};
    begin = begin > spans[0].end ? begin : spans[0].end;
    spans[1] = (struct span){begin < end ? begin : end, end};
}

/* Of the block at `first`: whether any row sees any position of it. */
static inline int block_seen(const struct unit *u, uint32_t first)
{
    return first < u->state->sinks || seen_first(u, u->row->position) < first + KV_PAGE_TOKENS;
}

/* -inf for what rows do not see, of the first `count` slots. */
static inline void block_mask(const struct unit *u, uint32_t first, uint32_t count, scores x)
{
    uint32_t last = u->row->position + u->rows - 1;
    if (first + KV_PAGE_TOKENS <= seen_last(u, u->row->position) + 1 &&
        seen_first(u, last) <= first)
        return;
    for (uint32_t h = 0; h < u->queries; h++) {
        struct span spans[2];
        block_spans(u, u->row->position + h / u->heads, first, spans);
        for (uint32_t j = spans[0].end; j < spans[1].begin; j++)
            x[h][j] = -__builtin_inff();
        for (uint32_t j = spans[1].end; j < count; j++)
            x[h][j] = -__builtin_inff();
    }
}

#endif
