/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal/terminal.h"

#include <string.h>

#include "common/console.h"
#include "gen/errors.h"
#include "jobs/pending.h"
#include "jobs/run.h"
#include "jobs/schedule.h"
#include "jobs/stream.h"
#include "link/link.h"

#define MAX_TOKENS 512u

/* A host that is there is not silent for longer, and no frame is on the line for longer. */
#define HOST_US  10000000u
#define FRAME_US 2000000u
/* Who has not typed for so long has gone. */
#define TYPED_US 600000000u

enum mode { BETWEEN, FRAME, TEXT };

_Static_assert(TYPED_BYTES + IMAGE_MAX_ROLE_BYTES <= TOKENIZER_TEXT_BYTES, "a question must fit");

void terminal_init(struct terminal *terminal, const struct port *port, struct engine *engine)
{
    memset(terminal, 0, sizeof *terminal);
    terminal->port = port;
    terminal->engine = engine;
}

int terminal_is_active(const struct terminal *terminal)
{
    return terminal->active && terminal->port->time_us() - terminal->typed_us < TYPED_US;
}

static void say(const struct terminal *terminal, const char *words)
{
    console_text(terminal->port, words);
}

static void begin_line(struct terminal *terminal)
{
    typed_begin(&terminal->line);
    say(terminal, "\r\n" TYPED_PROMPT);
}

static uint32_t own_session(const struct engine_info *model)
{
    return model->sessions - 1;
}

static uint32_t session_length(const struct terminal *terminal, const struct engine_info *model)
{
    return run_session_length(terminal->engine, own_session(model));
}

static void empty_session(struct terminal *terminal, const struct engine_info *model)
{
    (void)engine_truncate(terminal->engine, own_session(model), 0);
    pending_keep(own_session(model), 0);
    terminal->length = 0;
}

/* What was typed is forgotten, and what was said: a host may use the session. An answer that is
 * under way forgets it at its end. */
static void leave(struct terminal *terminal)
{
    const struct engine_info *model = engine_model(terminal->engine);
    uint32_t request;
    terminal->active = 0;
    typed_begin(&terminal->line);
    if (model && terminal->length && !schedule_is_busy(&request))
        empty_session(terminal, model);
    terminal->length = terminal->generated = 0;
}

/* ---- keys ---- */

static void receive(struct terminal *terminal, uint8_t byte)
{
    if (terminal->answering) {
        terminal->line.last = byte;
        if (byte == TYPED_CTRL_C)
            schedule_cancel();
        return;
    }
    if (!terminal->active) {
        terminal->active = 1;
        begin_line(terminal);
    }
    if (typed_key(&terminal->line, terminal->port, byte))
        begin_line(terminal);
}

/* ---- text or frame ---- */

void terminal_host_spoke(struct terminal *terminal)
{
    terminal->host_us = terminal->port->time_us();
}

static int host_is_there(const struct terminal *terminal, uint64_t now)
{
    uint32_t request;
    return (schedule_is_busy(&request) && !terminal->answering) ||
           (terminal->host_us && now - terminal->host_us < HOST_US);
}

/* Behind a 0 a frame has a small number, where text has a character (docs/protocol.md, "Text"). */
int terminal_takes(void *context, uint8_t byte)
{
    struct terminal *terminal = context;
    if (!byte) {
        if (terminal->mode == TEXT)
            leave(terminal);
        terminal->mode = BETWEEN;
        return 0;
    }
    uint64_t now = terminal->port->time_us();
    if (terminal->mode == FRAME && now - terminal->mode_us > FRAME_US)
        terminal->mode = BETWEEN;
    if (terminal->mode == BETWEEN) {
        int typed = byte >= ' ' || byte == '\r' || byte == '\n';
        terminal->mode = typed && !host_is_there(terminal, now) ? TEXT : FRAME;
        terminal->mode_us = now;
    }
    if (terminal->mode == FRAME)
        return 0;
    terminal->typed_us = now;
    receive(terminal, byte);
    return 1;
}

/* ---- answers ---- */

static void say_number(const struct terminal *terminal, const char *before, uint64_t value,
                       const char *after)
{
    say(terminal, before);
    console_u64(terminal->port, value);
    say(terminal, after);
}

/* A terminal is written to as the tokens are made. */
static int terminal_ready(void *context)
{
    (void)context;
    return 1;
}

static void terminal_progress(void *context, const struct run *run)
{
    (void)context;
    (void)run;
}

static void terminal_token(void *context, const struct run *run, uint32_t token, uint32_t digest)
{
    struct terminal *terminal = context;
    (void)digest;
    terminal->token = token;
    if (!job_stops(run->job.stop_ids, run->job.stop_count, token))
        shown_put(&terminal->shown, tokenizer_decode(terminal->answering, token));
}

static void terminal_end(void *context, const struct run *run, int error, uint32_t reason)
{
    struct terminal *terminal = context;
    terminal->answering = NULL;
    terminal->evaluated = run->evaluated;
    terminal->generated = run->generated;
    terminal->prefill_us = run->first_us - run->started_us;
    terminal->decode_us = run->last_us - run->first_us;
    shown_end(&terminal->shown);
    if (error == E_CANCELLED)
        say(terminal, "\r\n[cancelled]");
    else if (error == E_CONTEXT_FULL)
        say(terminal, "\r\n[the context is full: /reset begins anew]");
    else if (error)
        say_number(terminal, "\r\n[error ", (uint64_t)-(int64_t)error, "]");
    else if (reason == WIRE_REASON_LENGTH)
        say(terminal, "\r\n[cut off]");
    terminal->length = session_length(terminal, run->job.model);
    if (terminal->active)
        begin_line(terminal);
    else
        empty_session(terminal, run->job.model);
}

static const struct sink sink = {terminal_ready, terminal_token, terminal_progress, terminal_end};

/* ---- questions ---- */

static uint32_t put(struct terminal *terminal, uint32_t at, const uint8_t *from, uint32_t size)
{
    memcpy(terminal->text + at, from, size);
    return at + size;
}

void terminal_host_uses(struct terminal *terminal, const struct engine_info *model,
                        uint32_t session)
{
    if (session == own_session(model))
        terminal->shared = 1;
}

/* A host that goes on with what it believes is there would get other tokens than it should. */
static void forget(struct terminal *terminal, const struct engine_info *model)
{
    if (terminal->shared) {
        stream_detach();
        link_close();
    }
    terminal->shared = 0;
    empty_session(terminal, model);
}

/* What comes before the question: of a conversation what closes the answer before it, too. */
static uint32_t put_beginning(struct terminal *terminal, const struct engine_info *model,
                              const struct tokenizer *t)
{
    int goes_on = t->flags & IMAGE_BPE_FLAG_TURNS && terminal->length;
    if (!goes_on || terminal->length != session_length(terminal, model)) {
        forget(terminal, model);
        return put(terminal, 0, t->first.at, t->first.size);
    }
    uint32_t at = 0;
    if (terminal->token != t->end_id) {
        /* Another end than the template's, still pending, is taken back. */
        uint32_t session = own_session(model), count = pending_count(session);
        if (count && job_stops(model->stop_ids, model->stop_count, terminal->token))
            pending_keep(session, count - 1);
        at = put(terminal, at, t->end.at, t->end.size);
    }
    return put(terminal, at, t->next.at, t->next.size);
}

static int push_tokens(struct terminal *terminal, const struct engine_info *model,
                       struct tokenizer *t)
{
    uint32_t session = own_session(model), at = put_beginning(terminal, model, t);
    at = put(terminal, at, terminal->line.bytes, terminal->line.size);
    at = put(terminal, at, t->suffix.at, t->suffix.size);
    int count = tokenizer_encode(t, terminal->text, at, terminal->ids,
                                 sizeof terminal->ids / sizeof terminal->ids[0]);
    if (count < 0 || (uint32_t)count > pending_room(session))
        return E_PENDING;
    for (int i = 0; i < count; i++)
        (void)pending_push(session, terminal->ids[i]);
    return 0;
}

static void start_answer(struct terminal *terminal, const struct engine_info *model,
                         const struct tokenizer *t)
{
    struct job job = {.type = WIRE_TYPE_GENERATE,
                      .engine = terminal->engine,
                      .model = model,
                      .session = own_session(model),
                      .max_tokens = MAX_TOKENS,
                      .sampler = {.top_p = 1.0f, .repeat_penalty = 1.0f},
                      .stop_count = model->stop_count,
                      .sink = &sink,
                      .context = terminal};
    memcpy(job.stop_ids, model->stop_ids, sizeof model->stop_ids);
    terminal->answering = t;
    shown_begin(&terminal->shown, terminal->port, t->flags & IMAGE_BPE_FLAG_PREPEND_SPACE);
    schedule_start(&job);
}

static void ask(struct terminal *terminal, const struct engine_info *model)
{
    struct tokenizer *t = engine_tokenizer(terminal->engine);
    const struct typed *line = &terminal->line;
    int error = engine_tokenizer_error(terminal->engine);
    if (model->output_kind != IMAGE_OUTPUT_KIND_LOGITS)
        say(terminal, "this model writes no text: ask it by host embed or host classify");
    else if (error == E_IMAGE_NEW)
        say(terminal, "these tables to tokenize with are newer than this firmware: build it again "
                      "from a newer version, or use host chat");
    else if (error)
        say(terminal,
            "the tables to tokenize with are damaged: pack the image again, or use host chat");
    else if (!t)
        say(terminal,
            "this image has no tables to tokenize with (host inspect says why): use host chat");
    else if (line->foreign || !shown_is_text(line->bytes, line->size))
        say(terminal, "that was no text, it is not answered");
    else if (push_tokens(terminal, model, t))
        say(terminal, "that is too long; /reset forgets what was said before");
    else
        start_answer(terminal, model, t);
}

/* ---- commands ---- */

static void say_seconds(const struct terminal *terminal, uint64_t us)
{
    console_u64(terminal->port, us / 1000000u);
    say(terminal, ".");
    console_u64(terminal->port, us / 100000u % 10u);
}

static void say_stats(struct terminal *terminal, const struct engine_info *model)
{
    if (!terminal->generated) {
        say(terminal, "nothing was answered yet");
        return;
    }
    say_number(terminal, "", terminal->evaluated, " tokens read, first token after ");
    say_seconds(terminal, terminal->prefill_us);
    say_number(terminal, " s; ", terminal->generated, " written");
    if (terminal->generated > 1 && terminal->decode_us) {
        uint64_t tenths = (terminal->generated - 1) * 10000000ull / terminal->decode_us;
        say_number(terminal, ", ", tenths / 10u, ".");
        say_number(terminal, "", tenths % 10u, " tokens/s");
    }
    say_number(terminal, "; context ", session_length(terminal, model), " of ");
    console_u64(terminal->port, model->context);
}

static void say_help(struct terminal *terminal, const struct engine_info *model)
{
    (void)model;
    say(terminal, "Type a question. Ctrl-C ends an answer, Ctrl-U the line.\r\n"
                  "/reset  forget the conversation\r\n"
                  "/stats  time and length of the last answer\r\n"
                  "More, and faster over a slow line: host chat on a computer.");
}

static void reset(struct terminal *terminal, const struct engine_info *model)
{
    if (model)
        forget(terminal, model);
    say(terminal, "the conversation is forgotten");
}

/* Without a model those that need one are refused, and the others get NULL. */
static const struct command {
    const char *name;
    int needs_model;
    void (*obey)(struct terminal *terminal, const struct engine_info *model);
} commands[] = {{"/help", 0, say_help}, {"/reset", 0, reset}, {"/stats", 1, say_stats}};

static void say_unknown(struct terminal *terminal, const struct engine_info *model)
{
    (void)model;
    say(terminal, "unknown command; /help lists them");
}

static struct command command_find(const struct typed *line)
{
    for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (typed_is(line, commands[i].name))
            return commands[i];
    if (line->bytes[0] == '/')
        return (struct command){"", 0, say_unknown};
    return (struct command){"", 1, ask};
}

static void obey_line(struct terminal *terminal)
{
    const struct engine_info *model = engine_model(terminal->engine);
    struct command command = command_find(&terminal->line);
    if (command.needs_model && !model)
        say(terminal, "no model is loaded: the boot report says why, or a host has taken it away");
    else
        command.obey(terminal, model);
}

int terminal_obey(struct terminal *terminal)
{
    if (!terminal->line.ended)
        return 0;
    terminal->line.ended = 0;
    const struct tokenizer *t = engine_tokenizer(terminal->engine);
    if (!t || t->flags & IMAGE_BPE_FLAG_CHAT)
        typed_trim(&terminal->line);
    if (terminal->line.size) {
        say(terminal, "\r\n");
        obey_line(terminal);
    }
    if (!terminal->answering)
        begin_line(terminal);
    return 1;
}
