/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/serve.h"

#include <string.h>

#include "common/limits.h"
#include "gen/errors.h"
#include "gen/image_format.h"
#include "kernels/kernels.h"
#include "link/answer.h"
#include "link/baud.h"
#include "link/link.h"
#include "jobs/pending.h"
#include "jobs/stream.h"
#include "terminal/terminal.h"
#include "serve/transfer.h"
#include "link/validate.h"

static struct {
    const struct port *port;
    struct engine *engine;
    int error;
    uint64_t detail;
    uint64_t announced_us;
    int checking;
    int cancelled;
    struct job job;
} serve;

static uint8_t answer[WIRE_MAX_PAYLOAD];

void serve_init(const struct port *port, struct engine *engine)
{
    memset(&serve, 0, sizeof serve);
    serve.port = port;
    serve.engine = engine;
    serve.checking = 1;
    pending_init();
    stream_init();
    baud_init(port);
    transfer_init(port, engine);
}

const struct engine_info *serve_model(void)
{
    return serve.error || serve.checking ? NULL : engine_info(serve.engine);
}

const struct job *serve_job(void)
{
    return serve.job.type ? &serve.job : NULL;
}

void serve_cancel(void)
{
    serve.cancelled = 1;
}

void serve_drop_host(void)
{
    stream_detach();
    link_close();
}

void serve_finish(void)
{
    serve.job.type = 0;
}

int serve_poll(void *context)
{
    (void)context;
    if (serve_line() < 0)
        serve.cancelled = 1;
    return serve.cancelled;
}

int serve_wait(int (*ready)(void))
{
    while (!serve_poll(NULL)) {
        if (ready())
            return 0;
        serve.port->idle();
    }
    return E_CANCELLED;
}

/* ---- HELLO ---- */

static void put_text(uint8_t *to, uint32_t size, const char *text)
{
    for (uint32_t i = 0; i < size && text[i]; i++)
        to[i] = (uint8_t)text[i];
}

static void put_machine(uint8_t *p)
{
    const struct port *port = serve.port;
    wire_hello_reply_set_version_min(p, WIRE_VERSION_MIN);
    wire_hello_reply_set_version_max(p, WIRE_VERSION_MAX);
    wire_hello_reply_set_max_payload(p, WIRE_MAX_PAYLOAD);
    wire_hello_reply_set_counters(p, port->counters != 0);
    wire_hello_reply_set_vlen(p, port->vlen);
    wire_hello_reply_set_harts(p, port->harts);
    wire_hello_reply_set_uart_clock_hz(p, port->uart_clock_hz);
    put_text(p + WIRE_HELLO_REPLY_FIRMWARE_OFFSET, WIRE_HELLO_REPLY_FIRMWARE_BYTES, WIRE_RELEASE);
    put_text(p + WIRE_HELLO_REPLY_BOARD_OFFSET, WIRE_HELLO_REPLY_BOARD_BYTES, port->board);
    put_text(p + WIRE_HELLO_REPLY_ISA_OFFSET, WIRE_HELLO_REPLY_ISA_BYTES, port->isa);
    put_text(p + WIRE_HELLO_REPLY_KERNELS_OFFSET, WIRE_HELLO_REPLY_KERNELS_BYTES, kernels.name);
    wire_hello_reply_set_arena_available(p, port->memory.arena_size);
    wire_hello_reply_set_uptime_us(p, port->time_us());
    wire_hello_reply_set_pending_limit(p, PENDING_TOKENS);
    wire_hello_reply_set_image_area(p, port->image_area ? port->image_area_size : 0);
    wire_hello_reply_set_slot_bytes(p, port->slot ? port->slot->bytes : 0);
    wire_hello_reply_set_baud(p, baud_now());
    for (uint32_t i = 0; i < WIRE_BAUD_RATES; i++)
        le_put_u32(p + WIRE_HELLO_REPLY_BAUDS_OFFSET + 4u * i, baud_offered(i));
}

static void put_model(uint8_t *p, const struct engine_info *info)
{
    memcpy(p + WIRE_HELLO_REPLY_ROOT_OFFSET, info->root, WIRE_HELLO_REPLY_ROOT_BYTES);
    wire_hello_reply_set_vocab(p, info->vocab);
    wire_hello_reply_set_context(p, info->context);
    wire_hello_reply_set_max_rows(p, info->max_rows);
    wire_hello_reply_set_max_logit_rows(p, info->max_logit_rows);
    wire_hello_reply_set_sessions(p, info->sessions);
    wire_hello_reply_set_layers(p, info->layers);
    wire_hello_reply_set_overflow(p, info->overflow);
    wire_hello_reply_set_image_bytes(p, info->image_bytes);
    wire_hello_reply_set_weight_bytes(p, info->weight_bytes);
    wire_hello_reply_set_arena_bytes(p, info->arena_bytes);
    wire_hello_reply_set_runtime_bytes(p, info->runtime_bytes);
}

static void put_state(uint8_t *p)
{
    struct stream_facts run = stream_facts();
    wire_hello_reply_set_state(p, serve.checking   ? WIRE_DEVICE_STATE_CHECKING
                                  : serve.job.type ? WIRE_DEVICE_STATE_RUNNING
                                  : serve.error    ? WIRE_DEVICE_STATE_NO_MODEL
                                                   : WIRE_DEVICE_STATE_READY);
    wire_hello_reply_set_running(p, serve.job.type && !serve.checking ? serve.job.request : 0);
    wire_hello_reply_set_error(p, (uint16_t)-serve.error);
    wire_hello_reply_set_detail(p, serve.detail);
    wire_hello_reply_set_run(p, run.request);
    wire_hello_reply_set_run_session(p, run.session);
    wire_hello_reply_set_run_tokens(p, run.made);
}

static void send_hello_reply(uint32_t request, uint32_t nonce)
{
    memset(answer, 0, WIRE_HELLO_REPLY_SIZE);
    wire_hello_reply_set_request(answer, request);
    wire_hello_reply_set_nonce(answer, nonce);
    put_machine(answer);
    const struct engine_info *info =
        engine_info(serve.engine); /* of one that is being checked, too */
    if (info)
        put_model(answer, info);
    put_state(answer);
    link_send_unnumbered(WIRE_TYPE_HELLO_REPLY, answer, WIRE_HELLO_REPLY_SIZE);
}

static void announce(void)
{
    serve.announced_us = serve.port->time_us();
    send_hello_reply(0, 0);
}

/* Until a host spoke, so that whoever attaches late, or to a simulator that was faster, hears it;
 * and to who speaks in another epoch. */
int serve_line(void)
{
    int got = link_poll();
    uint64_t since = serve.port->time_us() - serve.announced_us;
    if (since >= (link_is_open() ? WIRE_STRANGER_US : WIRE_ANNOUNCE_US) &&
        (link_is_open() ? link_heard_stranger() : !terminal_is_active()))
        announce();
    (void)stream_pump();
    baud_poll();
    return got;
}

void serve_checked(int error, uint64_t detail)
{
    serve.checking = 0;
    serve.error = error;
    serve.detail = error ? detail : 0;
    announce();
}

/* Nobody is left who could use the scores of a run; tokens are kept. */
static void receive_hello(const struct frame *frame)
{
    uint32_t nonce = wire_hello_nonce(frame->payload);
    if (link_open(frame, nonce)) {
        stream_detach();
        if (serve.job.type == WIRE_TYPE_SCORE || serve.job.terminal)
            serve.cancelled = 1;
    }
    send_hello_reply(wire_hello_request(frame->payload), nonce);
}

/* ---- sessions ---- */

static int session_check(const struct engine_info *model, uint32_t session)
{
    if (session >= model->sessions || session >= LIMIT_SESSIONS)
        return E_SESSION;
    terminal_host_uses(model, session);
    return 0;
}

static uint32_t session_length(uint32_t session)
{
    return engine_length(serve.engine, session) + pending_count(session);
}

/* Everything is checked before the first token is kept: a refused chunk leaves nothing behind. */
static int prompt_check(const struct engine_info *model, const uint8_t *p, uint64_t *detail)
{
    uint32_t session = wire_prompt_session(p), count = wire_prompt_count(p),
             length = session_length(session);
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

static void receive_prompt(const struct frame *frame, const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    uint32_t request = wire_prompt_request(p), session = wire_prompt_session(p),
             count = wire_prompt_count(p);
    uint64_t detail = session;
    int error = session_check(model, session);
    if (!error)
        error = prompt_check(model, p, &detail);
    for (uint32_t i = 0; !error && i < count; i++)
        error = pending_push(session, le_u32(p + WIRE_PROMPT_SIZE + 4u * i));
    if (error)
        answer_refuse(request, frame->type, error, detail);
    else
        answer_ok(request, session_length(session));
}

static void receive_truncate(const struct frame *frame, const struct engine_info *model)
{
    uint32_t request = wire_truncate_request(frame->payload);
    uint32_t session = wire_truncate_session(frame->payload);
    uint32_t length = wire_truncate_length(frame->payload);
    uint64_t detail = session;
    int error = session_check(model, session);
    if (!error && length > session_length(session)) {
        error = E_POSITION;
        detail = session_length(session);
    }
    if (!error && length < engine_length(serve.engine, session)) {
        error = engine_truncate(serve.engine, session, length);
        detail = length;
    }
    if (!error)
        pending_keep(session, length - engine_length(serve.engine, session));
    if (!error && !length)
        stream_forget(session);
    if (error)
        answer_refuse(request, frame->type, error, detail);
    else
        answer_ok(request, session_length(session));
}

/* ---- jobs ---- */

/* Its record begins with it, or a HELLO that follows at once would be told of the one before. */
static void job_start(uint32_t type)
{
    if (!serve.job.terminal)
        stream_begin(serve.job.request, serve.job.session);
    serve.job.started_us = serve.port->time_us();
    serve.job.started_instret = serve.port->instret();
    serve.job.started_cycles = serve.port->cycles();
    serve.cancelled = 0;
    serve.job.type = type;
}

void serve_start(const struct job *job)
{
    serve.job = *job;
    job_start(WIRE_TYPE_GENERATE);
}

static int job_check(uint64_t *detail)
{
    int error = session_check(serve.job.model, serve.job.session);
    *detail = serve.job.session;
    if (!error && !pending_count(serve.job.session))
        error = E_ROWS;
    return error;
}

static int generate_check(uint64_t *detail)
{
    int error = job_check(detail);
    if (error)
        return error;
    *detail = serve.job.flags;
    if (serve.job.flags & ~(uint32_t)WIRE_RUN_FLAG_DIGEST)
        return E_PARAMETER;
    *detail = serve.job.stop_count;
    if (serve.job.stop_count > WIRE_MAX_STOP_IDS)
        return E_PARAMETER;
    *detail = 0;
    return sampler_check(&serve.job.sampler);
}

static void receive_generate(const struct frame *frame, const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    struct job *job = &serve.job;
    job->terminal = 0;
    job->engine = serve.engine;
    job->model = model;
    job->request = wire_generate_request(p);
    job->session = wire_generate_session(p);
    job->flags = wire_generate_flags(p);
    job->max_tokens = wire_generate_max_tokens(p);
    job->sampler.temperature = wire_generate_temperature(p);
    job->sampler.top_k = wire_generate_top_k(p);
    job->sampler.top_p = wire_generate_top_p(p);
    job->sampler.min_p = wire_generate_min_p(p);
    job->sampler.repeat_penalty = wire_generate_repeat_penalty(p);
    job->sampler.repeat_last = wire_generate_repeat_last(p);
    job->sampler.seed = wire_generate_seed(p);
    job->stop_count = wire_generate_stop_count(p);
    for (uint32_t i = 0; i < WIRE_MAX_STOP_IDS; i++)
        job->stop_ids[i] = wire_generate_stop_ids(p, i);
    uint64_t detail;
    int error = generate_check(&detail);
    if (error)
        answer_refuse(job->request, frame->type, error, detail);
    else
        job_start(WIRE_TYPE_GENERATE);
}

static void receive_score(const struct frame *frame, const struct engine_info *model)
{
    struct job *job = &serve.job;
    job->terminal = 0;
    job->engine = serve.engine;
    job->model = model;
    job->request = wire_score_request(frame->payload);
    job->session = wire_score_session(frame->payload);
    job->flags = wire_score_flags(frame->payload);
    uint64_t detail;
    int error = job_check(&detail);
    if (!error && job->flags & ~(uint32_t)(WIRE_RUN_FLAG_DIGEST | WIRE_RUN_FLAG_LOGITS)) {
        error = E_PARAMETER;
        detail = job->flags;
    }
    if (error)
        answer_refuse(job->request, frame->type, error, detail);
    else
        job_start(WIRE_TYPE_SCORE);
}

static void receive_cancel(const struct frame *frame)
{
    uint32_t target = wire_cancel_target(frame->payload);
    uint32_t found = serve.job.type && (!target || target == serve.job.request);
    if (found)
        serve.cancelled = 1;
    answer_ok(wire_cancel_request(frame->payload), found);
}

static void receive_resume(const struct frame *frame, const struct engine_info *model)
{
    (void)model;
    uint32_t target = wire_resume_target(frame->payload);
    int error = stream_resume(target, wire_resume_index(frame->payload));
    if (error)
        answer_refuse(wire_resume_request(frame->payload), frame->type, error, stream_facts().made);
    else
        answer_ok(wire_resume_request(frame->payload), stream_facts().made);
}

/* ---- image and session as bytes ---- */

static void receive_unload(const struct frame *frame)
{
    engine_unload(serve.engine);
    pending_init();
    stream_init();
    serve.error = E_IMAGE_ABSENT;
    serve.detail = 0;
    answer_ok(wire_unload_request(frame->payload), 0);
}

static void check_start(uint32_t request, uint32_t type)
{
    answer_ok(request, 0);
    serve.checking = 1;
    serve.job.request = request;
    serve.job.type = type;
}

static void receive_load(const struct frame *frame)
{
    uint32_t request = wire_load_request(frame->payload);
    if (serve_model()) {
        answer_refuse(request, frame->type, E_LOADED, 0);
        return;
    }
    check_start(request, WIRE_TYPE_LOAD);
}

static void receive_flash(const struct frame *frame)
{
    uint32_t request = wire_flash_request(frame->payload);
    uint64_t bytes = wire_flash_bytes(frame->payload);
    const struct port *port = serve.port;
    int error = 0;
    if (!port->slot)
        error = E_PARAMETER;
    else if (serve_model())
        error = E_LOADED;
    else if (bytes > port->slot->bytes || bytes > port->image_area_size)
        error = E_RANGE;
    if (error) {
        answer_refuse(request, frame->type, error, bytes);
        return;
    }
    serve.job.bytes = bytes;
    check_start(request, WIRE_TYPE_FLASH);
}

static void receive_adopt(const struct frame *frame, const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    uint32_t session = wire_adopt_session(p), length = wire_adopt_length(p);
    int error = session_check(model, session);
    if (!error && pending_count(session))
        error = E_POSITION;
    if (!error)
        error = engine_state_adopt(serve.engine, session, length, wire_adopt_high(p));
    if (error)
        answer_refuse(wire_adopt_request(p), frame->type, error, session);
    else
        answer_ok(wire_adopt_request(p), session_length(session));
}

/* ---- SET_BAUD, STATS, PING ---- */

static void receive_set_baud(const struct frame *frame)
{
    uint32_t request = wire_set_baud_request(frame->payload);
    uint32_t wanted = wire_set_baud_baud(frame->payload);
    for (uint32_t i = 0; i < WIRE_BAUD_RATES; i++)
        if (wanted && baud_offered(i) == wanted) {
            answer_ok(request, wanted);
            baud_try(wanted);
            return;
        }
    answer_refuse(request, frame->type, E_BAUD, wanted);
}

static uint32_t put_op_records(uint8_t *to, uint32_t first, uint32_t *total)
{
    struct engine_op_stats stats[WIRE_MAX_OP_RECORDS];
    *total = engine_stats(serve.engine, stats, WIRE_MAX_OP_RECORDS, first);
    uint32_t left = first < *total ? *total - first : 0;
    uint32_t count = left < WIRE_MAX_OP_RECORDS ? left : WIRE_MAX_OP_RECORDS;
    for (uint32_t i = 0; i < count; i++, to += WIRE_OP_RECORD_SIZE) {
        wire_op_record_set_id(to, stats[i].id);
        wire_op_record_set_weight(to, stats[i].weight);
        wire_op_record_set_calls(to, stats[i].calls);
        wire_op_record_set_instret(to, stats[i].instret);
        wire_op_record_set_cycles(to, stats[i].cycles);
    }
    return count;
}

static void receive_stats(const struct frame *frame)
{
    uint32_t flags = wire_stats_flags(frame->payload), first = wire_stats_first(frame->payload),
             total;
    if (flags & WIRE_STATS_FLAG_RESET)
        engine_stats_reset(serve.engine);
    if (flags & (WIRE_STATS_FLAG_ENABLE | WIRE_STATS_FLAG_DISABLE))
        engine_stats_enable(serve.engine, (flags & WIRE_STATS_FLAG_ENABLE) != 0);
    const struct link_counters *counters = link_counters();
    uint32_t count = put_op_records(answer + WIRE_STATS_REPLY_SIZE, first, &total);
    wire_stats_reply_set_request(answer, wire_stats_request(frame->payload));
    wire_stats_reply_set_total(answer, total);
    wire_stats_reply_set_first(answer, first);
    wire_stats_reply_set_count(answer, count);
    wire_stats_reply_set_frames_received(answer, counters->received);
    wire_stats_reply_set_frames_damaged(answer, counters->damaged);
    wire_stats_reply_set_frames_duplicate(answer, counters->duplicate);
    wire_stats_reply_set_frames_lost(answer, counters->lost);
    wire_stats_reply_set_frames_repeated(answer, counters->repeated);
    wire_stats_reply_set_uptime_us(answer, serve.port->time_us());
    link_send(WIRE_TYPE_STATS_REPLY, WIRE_CHANNEL_CONTROL, answer,
              WIRE_STATS_REPLY_SIZE + count * WIRE_OP_RECORD_SIZE);
}

static void receive_fail(const struct frame *frame)
{
    uint32_t kind = wire_fail_kind(frame->payload);
    if (serve.port->fail)
        serve.port->fail(kind);
    answer_refuse(wire_fail_request(frame->payload), frame->type, E_PARAMETER, kind);
}

static void receive_ping(const struct frame *frame)
{
    wire_ok_set_request(answer, wire_ping_request(frame->payload));
    wire_ok_set_value(answer, wire_ping_value(frame->payload));
    link_send_unnumbered(WIRE_TYPE_OK, answer, WIRE_OK_SIZE);
}

/* ---- dispatch ---- */

/* One of the two receives: what needs a model gets it from here or is refused. */
struct request {
    uint8_t type;
    uint8_t while_running;
    void (*receive)(const struct frame *frame);
    void (*receive_for)(const struct frame *frame, const struct engine_info *model);
};

static const struct request requests[] = {
    {WIRE_TYPE_HELLO, 1, receive_hello, NULL},
    {WIRE_TYPE_PROMPT, 0, NULL, receive_prompt},
    {WIRE_TYPE_GENERATE, 0, NULL, receive_generate},
    {WIRE_TYPE_SCORE, 0, NULL, receive_score},
    {WIRE_TYPE_TRUNCATE, 0, NULL, receive_truncate},
    {WIRE_TYPE_CANCEL, 1, receive_cancel, NULL},
    {WIRE_TYPE_STATS, 1, receive_stats, NULL},
    {WIRE_TYPE_PING, 1, receive_ping, NULL},
    {WIRE_TYPE_RESUME, 1, NULL, receive_resume},
    {WIRE_TYPE_SET_BAUD, 0, receive_set_baud, NULL},
    {WIRE_TYPE_READ, 0, transfer_receive_read, NULL},
    {WIRE_TYPE_WRITE, 0, transfer_receive_write, NULL},
    {WIRE_TYPE_SUM, 0, transfer_receive_sum, NULL},
    {WIRE_TYPE_LOAD, 0, receive_load, NULL},
    {WIRE_TYPE_UNLOAD, 0, receive_unload, NULL},
    {WIRE_TYPE_STATE, 0, NULL, transfer_receive_state},
    {WIRE_TYPE_ADOPT, 0, NULL, receive_adopt},
    {WIRE_TYPE_FAIL, 1, receive_fail, NULL},
    {WIRE_TYPE_FLASH, 0, receive_flash, NULL},
};

static const struct request *request_find(uint8_t type)
{
    for (uint32_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        if (requests[i].type == type)
            return &requests[i];
    return NULL;
}

/* Why a frame is not to be obeyed, or 0. */
static int request_check(const struct request *request, const struct frame *frame, uint64_t *detail)
{
    int error = request_validate(frame);
    if (!error && !request)
        error = E_MESSAGE;
    *detail = error == E_PROTOCOL ? frame->version : frame->type;
    if (error)
        return error;
    *detail = (uint64_t)-serve.error;
    if (request->receive_for && !serve_model())
        return E_NOT_READY;
    *detail = serve.job.request;
    int changes = frame->type == WIRE_TYPE_STATS && wire_stats_flags(frame->payload);
    int busy = serve.job.type || serve.checking;
    return busy && (!request->while_running || changes) ? E_BUSY : 0;
}

void serve_receive(const struct frame *frame)
{
    terminal_host_spoke();
    const struct request *request = request_find(frame->type);
    uint64_t detail;
    int error = request_check(request, frame, &detail);
    if (!error && request->receive_for)
        request->receive_for(frame, serve_model());
    else if (!error)
        request->receive(frame);
    else
        answer_refuse(frame->length >= 4u ? le_u32(frame->payload) : 0, frame->type, error, detail);
}
