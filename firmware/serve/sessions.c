/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/sessions.h"

#include "common/limits.h"
#include "gen/errors.h"
#include "gen/image_format.h"
#include "gen/wire.h"
#include "jobs/pending.h"
#include "jobs/run.h"
#include "jobs/stream.h"
#include "link/answer.h"

int sessions_check(struct serve *serve, const struct engine_info *model, uint32_t session)
{
    if (session >= model->sessions || session >= LIMIT_SESSIONS)
        return E_SESSION;
    terminal_host_uses(&serve->terminal, model, session);
    return 0;
}

/* Answers with the session's length, or with an error. */
static void answer(const struct serve *serve, const struct frame *frame, uint32_t request,
                   uint32_t session, int error, uint64_t detail)
{
    if (error)
        answer_refuse(request, frame->type, error, detail);
    else
        answer_ok(request, run_session_length(serve->engine, session));
}

/* Everything is checked before the first token is kept: a refused chunk leaves nothing behind. */
static int prompt_check(const struct serve *serve, const struct engine_info *model,
                        const uint8_t *p, uint64_t *detail)
{
    uint32_t session = wire_prompt_session(p), count = wire_prompt_count(p),
             length = run_session_length(serve->engine, session);
    *detail = length;
    if (wire_prompt_position(p) != length)
        return E_POSITION;
    *detail = model->context;
    if (model->overflow == IMAGE_OVERFLOW_STOP &&
        (length > model->context || count > model->context - length))
        return E_CONTEXT_FULL;
    for (uint32_t i = 0; i < count; i++) {
        *detail = le_u32(p + WIRE_PROMPT_SIZE + 4u * i);
        if (*detail >= model->vocab)
            return E_TOKEN;
    }
    *detail = pending_room(session);
    return count > *detail ? E_PENDING : 0;
}

void sessions_receive_prompt(struct serve *serve, const struct frame *frame,
                             const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    uint32_t session = wire_prompt_session(p), count = wire_prompt_count(p);
    uint64_t detail = session;
    int error = sessions_check(serve, model, session);
    if (!error)
        error = prompt_check(serve, model, p, &detail);
    for (uint32_t i = 0; !error && i < count; i++)
        error = pending_push(session, le_u32(p + WIRE_PROMPT_SIZE + 4u * i));
    answer(serve, frame, wire_prompt_request(p), session, error, detail);
}

/* Takes away the pending tokens first, then evaluated ones. */
static int cut(struct engine *engine, uint32_t session, uint32_t length, uint64_t *detail)
{
    int error = 0;
    *detail = run_session_length(engine, session);
    if (length > *detail)
        return E_POSITION;
    *detail = length;
    if (length < engine_length(engine, session))
        error = engine_truncate(engine, session, length);
    if (!error)
        pending_keep(session, length - engine_length(engine, session));
    return error;
}

void sessions_receive_truncate(struct serve *serve, const struct frame *frame,
                               const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    uint32_t session = wire_truncate_session(p), length = wire_truncate_length(p);
    uint64_t detail = session;
    int error = sessions_check(serve, model, session);
    if (!error)
        error = cut(serve->engine, session, length, &detail);
    if (!error && !length)
        stream_forget(session);
    answer(serve, frame, wire_truncate_request(p), session, error, detail);
}

void sessions_receive_adopt(struct serve *serve, const struct frame *frame,
                            const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    uint32_t session = wire_adopt_session(p), length = wire_adopt_length(p);
    int error = sessions_check(serve, model, session);
    if (!error && pending_count(session))
        error = E_POSITION;
    if (!error)
        error = engine_state_adopt(serve->engine, session, length, wire_adopt_high(p));
    answer(serve, frame, wire_adopt_request(p), session, error, session);
}
