/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a session as bytes: the newest tokens of its history, then the pages of each state
 * in the order of their table. */
#include <string.h>

#include "engine/memory.h"
#include "gen/errors.h"

uint64_t engine_state_history_bytes(const struct engine *engine, uint32_t session)
{
    uint32_t high = engine->sessions.all[session].high, context = engine->sessions.context;

    return 4ull * (high < context ? high : context);
}

static uint64_t state_bytes(const struct engine *engine, const struct step_state *state,
                            uint32_t session)
{
    uint32_t length = engine->sessions.all[session].length;

    return (uint64_t)session_pages(state, length) * state->page_bytes;
}

uint64_t engine_state_bytes(const struct engine *engine, uint32_t session)
{
    uint64_t bytes = engine_state_history_bytes(engine, session);

    for (uint32_t i = 0; i < engine->plan.state_count; i++)
        bytes += state_bytes(engine, &engine->states[i], session);
    return bytes;
}

uint8_t *engine_state_at(const struct engine *engine, uint32_t session, uint64_t offset,
                         uint64_t *size)
{
    uint64_t bytes = engine_state_history_bytes(engine, session);

    if (offset < bytes) {
        *size = bytes - offset;
        return (uint8_t *)engine->sessions.all[session].history + offset;
    }
    offset -= bytes;
    for (uint32_t i = 0; i < engine->plan.state_count; i++) {
        const struct step_state *state = &engine->states[i];
        bytes = state_bytes(engine, state, session);
        if (offset < bytes) {
            uint32_t page =
                state->table[(uint64_t)session * state->pages + offset / state->page_bytes];
            *size = state->page_bytes - offset % state->page_bytes;
            return engine->pages + page * engine->plan.page_stride + offset % state->page_bytes;
        }
        offset -= bytes;
    }
    *size = 0;
    return NULL;
}

uint32_t engine_high(const struct engine *engine, uint32_t session)
{
    return engine->sessions.all[session].high;
}

int engine_state_adopt(struct engine *engine, uint32_t session, uint32_t length, uint32_t high)
{
    struct session *s = &engine->sessions.all[session];
    uint32_t limit =
        engine->plan.overflow == IMAGE_OVERFLOW_STOP ? engine->plan.context : LIMIT_POSITION;

    if (s->length)
        return E_POSITION;
    if (length > high || high > limit)
        return E_CONTEXT_FULL;
    s->high = high;
    int error = session_check_rollback(&engine->sessions, session, length);
    if (error) {
        s->high = 0;
        return error;
    }
    session_hold(&engine->sessions, session, 0, length);
    memset(s->history, 0, engine_state_history_bytes(engine, session));
    s->length = length;
    return 0;
}

void engine_unload(struct engine *engine)
{
    engine->loaded = engine->verified = 0;
    engine->logit_count = 0;
}
