/* SPDX-License-Identifier: Apache-2.0 */
/* Stepping: rows checked, pages taken, the program run on all harts, lengths advanced. */
#include "common/pool.h"
#include "engine/memory.h"
#include "gen/errors.h"

/* ---- the program ---- */

#define RUN_TO_END UINT32_MAX

struct run {
    struct engine *engine;
    struct step step;
    uint32_t stop; /* the op after which all harts leave */
};

struct counters {
    uint64_t instret;
    uint64_t cycles;
};

static struct counters counters_read(const struct port *port)
{
    struct counters now = {port->instret(), port->cycles()};
    return now;
}

static void stats_add(struct engine_op_stats *stats, struct counters before, struct counters now)
{
    stats->calls++;
    stats->instret += now.instret - before.instret;
    stats->cycles += now.cycles - before.cycles;
}

/* Hart 0 names the op to stop after before the barrier that ends it, so every hart that has passed
 * this barrier sees it. A slower hart may already see the name of a later op, which makes no
 * difference to it. */
static void run_program(void *context, uint32_t hart, uint32_t harts)
{
    struct run *run = context;
    struct engine *engine = run->engine;
    int counting = hart == 0 && engine->stats_on;
    struct counters before = {0, 0};

    for (uint32_t i = 0; i < engine->plan.op_count; i++) {
        const struct op *op = &engine->ops[i];
        if (step_count(&run->step, op->domain) == 0)
            continue;
        if (counting)
            before = counters_read(engine->port);
        op->run(op, &run->step, hart, harts);
        if (hart == 0 && engine->poll && engine->poll(engine->poll_context))
            __atomic_store_n(&run->stop, i, __ATOMIC_RELAXED);
        pool_barrier(run->step.pool, hart);
        if (counting)
            stats_add(&engine->stats[i], before, counters_read(engine->port));
        if (__atomic_load_n(&run->stop, __ATOMIC_RELAXED) == i)
            return;
    }
}

/* ---- rows ---- */

static int check_row(const struct engine *engine, const struct engine_row *row)
{
    uint32_t limit =
        engine->plan.overflow == IMAGE_OVERFLOW_STOP ? engine->plan.context : LIMIT_POSITION;

    if (row->session >= engine->plan.sessions)
        return E_SESSION;
    if (engine->plan.whole && engine->sessions.all[row->session].length)
        return E_POSITION;
    if (row->position != engine->sessions.all[row->session].length + engine->added[row->session])
        return E_POSITION;
    if (row->position >= limit)
        return E_CONTEXT_FULL;
    return row->token < engine->plan.vocab ? 0 : E_TOKEN;
}

static int take_rows(struct engine *engine, const struct engine_row *rows, uint32_t count,
                     uint32_t *logit_count)
{
    *logit_count = 0;
    for (uint32_t i = 0; i < engine->plan.sessions; i++)
        engine->added[i] = 0;
    if (count == 0 || count > engine->plan.max_rows)
        return E_ROWS;
    for (uint32_t i = 0; i < count; i++) {
        int error = check_row(engine, &rows[i]);
        if (error)
            return error;
        engine->rows[i].session = rows[i].session;
        engine->rows[i].position = rows[i].position;
        engine->rows[i].token = rows[i].token;
        engine->added[rows[i].session]++;
        if (!rows[i].want_logits)
            continue;
        if (*logit_count == engine->plan.max_logit_rows)
            return E_ROWS;
        engine->logit_rows[(*logit_count)++] = i;
    }
    return 0;
}

/* The tokens stand there only once the step has succeeded; till then nobody's do. */
static void hold_pages(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->plan.sessions; i++) {
        struct session *session = &engine->sessions.all[i];
        uint32_t to = session->length + engine->added[i];
        session_hold(&engine->sessions, i, session->length, to);
        for (; session->high < to; session->high++)
            session->history[session->high % engine->plan.context] = 0;
    }
}

static void release_pages(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->plan.sessions; i++) {
        uint32_t length = engine->sessions.all[i].length;
        session_hold(&engine->sessions, i, length + engine->added[i], length);
    }
}

static void advance(struct engine *engine, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct session *session = &engine->sessions.all[engine->rows[i].session];
        session->history[engine->rows[i].position % engine->plan.context] = engine->rows[i].token;
        session->length++;
    }
}

int engine_step(struct engine *engine, const struct engine_row *rows, uint32_t count)
{
    struct run run;
    uint32_t logit_count;
    int error;

    engine->logit_count = 0;
    if (!engine->loaded || !engine->verified)
        return E_NOT_READY;
    error = take_rows(engine, rows, count, &logit_count);
    if (error)
        return error;
    hold_pages(engine);
    run.engine = engine;
    run.step.rows = engine->rows;
    run.step.row_count = count;
    run.step.logit_rows = engine->logit_rows;
    run.step.logit_count = logit_count;
    run.step.states = engine->states;
    run.step.pages = engine->pages;
    run.step.page_stride = engine->plan.page_stride;
    run.step.pool = engine->port->pool;
    run.step.packed = engine->packed;
    run.stop = RUN_TO_END;
    pool_run(run.step.pool, run_program, &run);
    if (run.stop != RUN_TO_END) {
        release_pages(engine);
        return E_CANCELLED;
    }
    advance(engine, count);
    engine->logit_count = logit_count;
    return 0;
}

float *engine_logits(const struct engine *engine, uint32_t i)
{
    if (i >= engine->logit_count)
        return NULL;
    return engine->logits + (uint64_t)i * engine->plan.logits_stride;
}

/* ---- sessions ---- */

uint32_t engine_length(const struct engine *engine, uint32_t session)
{
    return engine->loaded && session < engine->plan.sessions ? engine->sessions.all[session].length
                                                             : 0;
}

int engine_truncate(struct engine *engine, uint32_t session, uint32_t length)
{
    struct session *s;
    int error;

    if (!engine->loaded || session >= engine->plan.sessions)
        return E_SESSION;
    s = &engine->sessions.all[session];
    if (length > s->length)
        return E_POSITION;
    error = length < s->length ? session_check_rollback(&engine->sessions, session, length) : 0;
    if (error)
        return error;
    session_hold(&engine->sessions, session, s->length, length);
    s->length = length;
    if (length == 0)
        s->high = 0;
    return 0;
}

uint32_t engine_token(const struct engine *engine, uint32_t session, uint32_t position)
{
    if (!engine->loaded || session >= engine->plan.sessions ||
        position >= engine->sessions.all[session].length)
        return IMAGE_NO_TENSOR;
    if (position < session_oldest(&engine->sessions, session))
        return IMAGE_NO_TENSOR;
    return engine->sessions.all[session].history[position % engine->plan.context];
}

/* ---- hooks ---- */

void engine_set_poll(struct engine *engine, int (*poll)(void *context), void *context)
{
    engine->poll = poll;
    engine->poll_context = context;
}

void engine_stats_enable(struct engine *engine, int on)
{
    engine->stats_on = on;
}

void engine_stats_reset(struct engine *engine)
{
    for (uint32_t i = 0; engine->loaded && i < engine->plan.op_count; i++) {
        engine->stats[i].calls = 0;
        engine->stats[i].instret = 0;
        engine->stats[i].cycles = 0;
    }
}

uint32_t engine_stats(const struct engine *engine, struct engine_op_stats *out, uint32_t capacity,
                      uint32_t first)
{
    uint32_t total = engine->loaded ? engine->plan.op_count : 0;

    for (uint32_t i = 0; i < capacity && first < total && i < total - first; i++)
        out[i] = engine->stats[first + i];
    return total;
}
