/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal/terminal.h"

#include <string.h>

#include "tokenizer/tokenizer.h"
#include "gen/errors.h"
#include "common/console.h"
#include "jobs/pending.h"
#include "terminal/shown.h"
#include "terminal/typed.h"

#define MAX_TOKENS 512u

/* A host that is there is not silent for longer, and no frame is on the line for longer. */
#define HOST_US  10000000u
#define FRAME_US 2000000u
/* Who has not typed for so long has gone. */
#define TYPED_US 600000000u

enum mode { BETWEEN, FRAME, TEXT };

_Static_assert(TYPED_BYTES + IMAGE_MAX_ROLE_BYTES <= TOKENIZER_TEXT_BYTES, "a question must fit");

static struct {
    const struct port *port;
    struct engine *engine;
    enum mode mode;
    uint64_t mode_us; /* when it began */
    uint64_t host_us; /* when a host spoke; 0: never */
    uint64_t typed_us;
    int shared; /* a host has used the session since */
    int active;
    const struct tokenizer *answering; /* whose tokens are shown; NULL: no answer is under way */
    struct typed line;
    uint32_t length; /* of the session when the last answer ended; 0: no conversation */
    uint32_t token;  /* the last one of the last answer */
    /* Of the last answer: */
    uint32_t evaluated;
    uint32_t generated;
    uint64_t prefill_us;
    uint64_t decode_us;
} terminal;

static uint8_t text[TOKENIZER_TEXT_BYTES];
static uint32_t ids[TOKENIZER_TEXT_BYTES + 1u];

void terminal_init(const struct port *port, struct engine *engine)
{
    memset(&terminal, 0, sizeof terminal);
    terminal.port = port;
    terminal.engine = engine;
}

int terminal_is_active(void)
{
    return terminal.active && terminal.port->time_us() - terminal.typed_us < TYPED_US;
}

static void say(const char *words)
{
    console_text(terminal.port, words);
}

static void begin_line(void)
{
    typed_begin(&terminal.line);
    say("\r\n" TYPED_PROMPT);
}

static uint32_t own_session(const struct engine_info *model)
{
    return model->sessions - 1;
}

static uint32_t session_length(const struct engine_info *model)
{
    return engine_length(terminal.engine, own_session(model)) + pending_count(own_session(model));
}

static void empty_session(const struct engine_info *model)
{
    (void)engine_truncate(terminal.engine, own_session(model), 0);
    pending_keep(own_session(model), 0);
    terminal.length = 0;
}

/* What was typed is forgotten, and what was said: a host may use the session. An answer that is
 * under way forgets it at its end. */
static void leave(void)
{
    const struct engine_info *model = serve_model();
    terminal.active = 0;
    typed_begin(&terminal.line);
    if (model && terminal.length && !serve_job())
        empty_session(model);
    terminal.length = terminal.generated = 0;
}

/* ---- keys ---- */

static void receive(uint8_t byte)
{
    if (terminal.answering) {
        terminal.line.last = byte;
        if (byte == TYPED_CTRL_C)
            serve_cancel();
        return;
    }
    if (!terminal.active) {
        terminal.active = 1;
        begin_line();
    }
    if (typed_key(&terminal.line, terminal.port, byte))
        begin_line();
}

/* ---- text or frame ---- */

void terminal_host_spoke(void)
{
    terminal.host_us = terminal.port->time_us();
}

static int host_is_there(uint64_t now)
{
    const struct job *job = serve_job();
    return (job && !job->terminal) || (terminal.host_us && now - terminal.host_us < HOST_US);
}

/* Behind a 0 a frame has a small number, where text has a character (docs/protocol.md, "Text"). */
int terminal_takes(uint8_t byte)
{
    if (!byte) {
        if (terminal.mode == TEXT)
            leave();
        terminal.mode = BETWEEN;
        return 0;
    }
    uint64_t now = terminal.port->time_us();
    if (terminal.mode == FRAME && now - terminal.mode_us > FRAME_US)
        terminal.mode = BETWEEN;
    if (terminal.mode == BETWEEN) {
        int typed = byte >= ' ' || byte == '\r' || byte == '\n';
        terminal.mode = typed && !host_is_there(now) ? TEXT : FRAME;
        terminal.mode_us = now;
    }
    if (terminal.mode == FRAME)
        return 0;
    terminal.typed_us = now;
    receive(byte);
    return 1;
}

/* ---- questions ---- */

static uint32_t put(uint32_t at, const uint8_t *from, uint32_t size)
{
    memcpy(text + at, from, size);
    return at + size;
}

void terminal_host_uses(const struct engine_info *model, uint32_t session)
{
    if (session == own_session(model))
        terminal.shared = 1;
}

/* A host that goes on with what it believes is there would get other tokens than it should. */
static void forget(const struct engine_info *model)
{
    if (terminal.shared)
        serve_drop_host();
    terminal.shared = 0;
    empty_session(model);
}

static int is_stop(const uint32_t *stop_ids, uint32_t count, uint32_t token)
{
    for (uint32_t i = 0; i < count; i++)
        if (stop_ids[i] == token)
            return 1;
    return 0;
}

/* What comes before the question: of a conversation what closes the answer before it, too. */
static uint32_t put_beginning(const struct engine_info *model, const struct tokenizer *t)
{
    int goes_on = t->flags & IMAGE_BPE_FLAG_TURNS && terminal.length;
    if (!goes_on || terminal.length != session_length(model)) {
        forget(model);
        return put(0, t->first.at, t->first.size);
    }
    uint32_t at = 0;
    if (terminal.token != t->end_id) {
        /* Another end than the template's, still pending, is taken back. */
        uint32_t session = own_session(model), count = pending_count(session);
        if (count && is_stop(model->stop_ids, model->stop_count, terminal.token))
            pending_keep(session, count - 1);
        at = put(at, t->end.at, t->end.size);
    }
    return put(at, t->next.at, t->next.size);
}

static int push_tokens(const struct engine_info *model, struct tokenizer *t)
{
    uint32_t session = own_session(model), at = put_beginning(model, t);
    at = put(at, terminal.line.bytes, terminal.line.size);
    at = put(at, t->suffix.at, t->suffix.size);
    int count = tokenizer_encode(t, text, at, ids, sizeof ids / sizeof ids[0]);
    if (count < 0 || (uint32_t)count > pending_room(session))
        return E_PENDING;
    for (int i = 0; i < count; i++)
        (void)pending_push(session, ids[i]);
    return 0;
}

static void start_answer(const struct engine_info *model, const struct tokenizer *t)
{
    struct job job = {.terminal = 1,
                      .engine = terminal.engine,
                      .model = model,
                      .session = own_session(model),
                      .max_tokens = MAX_TOKENS};
    job.sampler = (struct sampler_params){.top_p = 1.0f, .repeat_penalty = 1.0f};
    job.stop_count = model->stop_count;
    memcpy(job.stop_ids, model->stop_ids, sizeof model->stop_ids);
    terminal.answering = t;
    shown_begin(terminal.port, t->flags & IMAGE_BPE_FLAG_PREPEND_SPACE);
    serve_start(&job);
}

static void ask(const struct engine_info *model)
{
    struct tokenizer *t = engine_tokenizer(terminal.engine);
    if (engine_tokenizer_error(terminal.engine))
        say("the tables to tokenize with are damaged: pack the image again, or use host chat");
    else if (!t)
        say("this image has no tables to tokenize with (host inspect says why): use host chat");
    else if (terminal.line.foreign || !shown_is_text(terminal.line.bytes, terminal.line.size))
        say("that was no text, it is not answered");
    else if (push_tokens(model, t))
        say("that is too long; /reset forgets what was said before");
    else
        start_answer(model, t);
}

/* ---- commands ---- */

static void say_number(const char *before, uint64_t value, const char *after)
{
    say(before);
    console_u64(terminal.port, value);
    say(after);
}

static void say_seconds(uint64_t us)
{
    console_u64(terminal.port, us / 1000000u);
    say(".");
    console_u64(terminal.port, us / 100000u % 10u);
}

static void say_stats(const struct engine_info *model)
{
    if (!terminal.generated) {
        say("nothing was answered yet");
        return;
    }
    say_number("", terminal.evaluated, " tokens read, first token after ");
    say_seconds(terminal.prefill_us);
    say_number(" s; ", terminal.generated, " written");
    if (terminal.generated > 1 && terminal.decode_us) {
        uint64_t tenths = (terminal.generated - 1) * 10000000ull / terminal.decode_us;
        say_number(", ", tenths / 10u, ".");
        say_number("", tenths % 10u, " tokens/s");
    }
    say_number("; context ", session_length(model), " of ");
    console_u64(terminal.port, model->context);
}

static void say_help(const struct engine_info *model)
{
    (void)model;
    say("Type a question. Ctrl-C ends an answer, Ctrl-U the line.\r\n"
        "/reset  forget the conversation\r\n"
        "/stats  time and length of the last answer\r\n"
        "More, and faster over a slow line: host chat on a computer.");
}

static void reset(const struct engine_info *model)
{
    if (model)
        forget(model);
    say("the conversation is forgotten");
}

/* Without a model those that need one are refused, and the others get NULL. */
static const struct command {
    const char *name;
    int needs_model;
    void (*obey)(const struct engine_info *model);
} commands[] = {{"/help", 0, say_help}, {"/reset", 0, reset}, {"/stats", 1, say_stats}};

static void say_unknown(const struct engine_info *model)
{
    (void)model;
    say("unknown command; /help lists them");
}

static struct command command_find(void)
{
    for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (typed_is(&terminal.line, commands[i].name))
            return commands[i];
    if (terminal.line.bytes[0] == '/')
        return (struct command){"", 0, say_unknown};
    return (struct command){"", 1, ask};
}

static void obey_line(void)
{
    const struct engine_info *model = serve_model();
    struct command command = command_find();
    if (command.needs_model && !model)
        say("no model is loaded: the boot report says why, or a host has taken it away");
    else
        command.obey(model);
}

int terminal_obey(void)
{
    if (!terminal.line.ended)
        return 0;
    terminal.line.ended = 0;
    const struct tokenizer *t = engine_tokenizer(terminal.engine);
    if (!t || t->flags & IMAGE_BPE_FLAG_CHAT)
        typed_trim(&terminal.line);
    if (terminal.line.size) {
        say("\r\n");
        obey_line();
    }
    if (!terminal.answering)
        begin_line();
    return 1;
}

/* ---- answers ---- */

void terminal_token(const struct job *job, uint32_t token)
{
    terminal.token = token;
    if (terminal.answering && !is_stop(job->stop_ids, job->stop_count, token))
        shown_put(tokenizer_decode(terminal.answering, token));
}

void terminal_end(const struct run *run, int error, uint32_t reason)
{
    terminal.answering = NULL;
    terminal.evaluated = run->evaluated;
    terminal.generated = run->generated;
    terminal.prefill_us = run->first_us - run->job->started_us;
    terminal.decode_us = run->last_us - run->first_us;
    shown_end();
    if (error == E_CANCELLED)
        say("\r\n[cancelled]");
    else if (error == E_CONTEXT_FULL)
        say("\r\n[the context is full: /reset begins anew]");
    else if (error)
        say_number("\r\n[error ", (uint64_t)-(int64_t)error, "]");
    else if (reason == WIRE_REASON_LENGTH)
        say("\r\n[cut off]");
    terminal.length = session_length(run->job->model);
    if (terminal.active)
        begin_line();
    else
        empty_session(run->job->model);
}
