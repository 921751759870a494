/* SPDX-License-Identifier: Apache-2.0 */
#include "link/terminal.h"

#include <string.h>

#include "engine/tokenizer.h"
#include "gen/errors.h"
#include "link/console.h"
#include "link/pending.h"
#include "link/shown.h"

#define LINE_BYTES 1024u
#define MAX_TOKENS 512u
#define PROMPT     "> "

enum { KEY_CTRL_C = 3, KEY_BACKSPACE = 8, KEY_CTRL_U = 21, KEY_ESCAPE = 27, KEY_DELETE = 127 };

/* A host that is there is not silent for longer, and no frame is on the line for longer. */
#define HOST_US  10000000u
#define FRAME_US 2000000u
/* Who has not typed for so long has gone. */
#define TYPED_US 600000000u

enum mode { BETWEEN, FRAME, TEXT };

_Static_assert(LINE_BYTES + IMAGE_MAX_ROLE_BYTES <= TOKENIZER_TEXT_BYTES, "a question must fit");

static struct {
    const struct port *port;
    enum mode mode;
    uint64_t mode_us; /* when it began */
    uint64_t host_us; /* when a host spoke; 0: never */
    uint64_t typed_us;
    int shared; /* a host has used the session since */
    int active;
    int answering;
    int ended;    /* the line awaits its answer */
    int foreign;  /* the line has bytes that nobody types */
    int escape;   /* within a key's escape sequence: 1 behind ESC, 2 behind its second byte */
    uint8_t last; /* key */
    uint32_t size;
    uint8_t line[LINE_BYTES];
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

void terminal_init(const struct port *port)
{
    memset(&terminal, 0, sizeof terminal);
    terminal.port = port;
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
    terminal.size = 0;
    terminal.ended = terminal.foreign = terminal.escape = 0;
    say("\r\n" PROMPT);
}

/* What was typed is forgotten, and what was said: a host may use the session. */
static void leave(void)
{
    terminal.active = terminal.ended = 0;
    terminal.size = 0;
    terminal.length = 0;
}

/* ---- editing ---- */

static void erase_character(void)
{
    if (!terminal.size)
        return;
    while (terminal.size > 1 && (terminal.line[terminal.size - 1] & 0xc0u) == 0x80u)
        terminal.size--;
    terminal.size--;
    say("\b \b");
}

static void append(uint8_t byte)
{
    if (terminal.size == LINE_BYTES) {
        say("\a");
        return;
    }
    terminal.line[terminal.size++] = byte;
    (void)terminal.port->write(&byte, 1);
}

/* Arrow keys and their like send ESC, [ or O, parameters, and a letter or ~. */
static int is_escaped(uint8_t byte)
{
    if (byte == KEY_ESCAPE) {
        terminal.escape = 1;
        return 1;
    }
    if (!terminal.escape)
        return 0;
    int introduces = terminal.escape == 1 && (byte == '[' || byte == 'O');
    terminal.escape = introduces || (terminal.escape > 1 && byte < 0x40u) ? 2 : 0;
    return 1;
}

static void edit(uint8_t byte)
{
    if (byte == '\r' || byte == '\n')
        terminal.ended = 1;
    else if (byte == KEY_BACKSPACE || byte == KEY_DELETE)
        erase_character();
    else if (byte == KEY_CTRL_U || byte == KEY_CTRL_C) {
        say(byte == KEY_CTRL_C ? "^C" : "\r\x1b[K" PROMPT);
        terminal.size = terminal.foreign = 0;
        if (byte == KEY_CTRL_C)
            begin_line();
    } else if (byte >= ' ' || byte == '\t')
        append(byte == '\t' ? ' ' : byte);
    else
        terminal.foreign = 1;
}

static void receive(uint8_t byte)
{
    uint8_t last = terminal.last;
    terminal.last = byte;
    if (terminal.answering) {
        if (byte == KEY_CTRL_C)
            serve_cancel();
        return;
    }
    if (!terminal.active) {
        terminal.active = 1;
        begin_line();
    }
    /* Some send CR LF for one key; and a line that was ended may still be taken back. */
    if ((byte == '\n' && last == '\r') || (terminal.ended && byte != KEY_CTRL_C) ||
        is_escaped(byte))
        return;
    edit(byte);
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

static int line_is(const char *command)
{
    uint32_t i = 0;
    while (i < terminal.size && command[i] && terminal.line[i] == (uint8_t)command[i])
        i++;
    return i == terminal.size && !command[i];
}

static void trim(void)
{
    uint32_t from = 0;
    while (terminal.size && terminal.line[terminal.size - 1] == ' ')
        terminal.size--;
    while (from < terminal.size && terminal.line[from] == ' ')
        from++;
    terminal.size -= from;
    memmove(terminal.line, terminal.line + from, terminal.size);
}

static uint32_t put(uint32_t at, const uint8_t *from, uint32_t size)
{
    memcpy(text + at, from, size);
    return at + size;
}

static uint32_t own_session(void)
{
    return engine_info()->sessions - 1;
}

static uint32_t session_length(void)
{
    return engine_length(own_session()) + pending_count(own_session());
}

void terminal_host_uses(uint32_t session)
{
    if (session == own_session())
        terminal.shared = 1;
}

/* A host that goes on with what it believes is there would get other tokens than it should. */
static void forget(void)
{
    if (terminal.shared)
        serve_drop_host();
    terminal.shared = 0;
    (void)engine_truncate(own_session(), 0);
    pending_keep(own_session(), 0);
    terminal.length = 0;
}

static int is_stop(uint32_t token)
{
    const struct engine_info *info = engine_info();
    for (uint32_t i = 0; i < info->stop_count; i++)
        if (info->stop_ids[i] == token)
            return 1;
    return 0;
}

/* What comes before the question: of a conversation what closes the answer before it, too. */
static uint32_t put_beginning(const struct tokenizer *t)
{
    int goes_on = t->flags & IMAGE_BPE_FLAG_TURNS && terminal.length;
    if (!goes_on || terminal.length != session_length()) {
        forget();
        return put(0, t->first.at, t->first.size);
    }
    uint32_t at = 0;
    if (terminal.token != t->end_id) {
        /* Another end than the template's, still pending, is taken back. */
        if (is_stop(terminal.token) && pending_count(own_session()))
            pending_keep(own_session(), pending_count(own_session()) - 1);
        at = put(at, t->end.at, t->end.size);
    }
    return put(at, t->next.at, t->next.size);
}

static int push_tokens(const struct tokenizer *t)
{
    uint32_t at = put_beginning(t);
    at = put(at, terminal.line, terminal.size);
    at = put(at, t->suffix.at, t->suffix.size);
    int count = tokenizer_encode(t, text, at, ids, sizeof ids / sizeof ids[0]);
    if (count < 0 || (uint32_t)count > pending_room(own_session()))
        return E_PENDING;
    for (int i = 0; i < count; i++)
        (void)pending_push(own_session(), ids[i]);
    return 0;
}

static void start_answer(void)
{
    const struct engine_info *info = engine_info();
    struct job job = {.terminal = 1, .session = own_session(), .max_tokens = MAX_TOKENS};
    job.sampler = (struct sampler_params){.top_p = 1.0f, .repeat_penalty = 1.0f};
    job.stop_count = info->stop_count;
    memcpy(job.stop_ids, info->stop_ids, sizeof job.stop_ids);
    terminal.answering = 1;
    shown_begin(terminal.port, engine_tokenizer()->flags & IMAGE_BPE_FLAG_PREPEND_SPACE);
    serve_start(&job);
}

static void ask(void)
{
    const struct tokenizer *t = engine_tokenizer();
    if (!engine_info())
        say("no model is loaded: the boot report says why");
    else if (engine_tokenizer_error())
        say("the tables to tokenize with are damaged: pack the image again, or use host chat");
    else if (!t)
        say("this image has no tables to tokenize with (host inspect says why): use host chat");
    else if (terminal.foreign || !shown_is_text(terminal.line, terminal.size))
        say("that was no text, it is not answered");
    else if (push_tokens(t))
        say("that is too long; /reset forgets what was said before");
    else
        start_answer();
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

static void say_stats(void)
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
    say_number("; context ", session_length(), " of ");
    console_u64(terminal.port, engine_info()->context);
}

static void obey_command(void)
{
    if (line_is("/help"))
        say("Type a question. Ctrl-C ends an answer, Ctrl-U the line.\r\n"
            "/reset  forget the conversation\r\n"
            "/stats  time and length of the last answer\r\n"
            "More, and faster over a slow line: host chat on a computer.");
    else if (line_is("/reset")) {
        if (engine_info())
            forget();
        say("the conversation is forgotten");
    } else if (line_is("/stats"))
        say_stats();
    else
        say("unknown command; /help lists them");
}

int terminal_obey(void)
{
    if (!terminal.ended)
        return 0;
    terminal.ended = 0;
    const struct tokenizer *t = engine_tokenizer();
    if (!t || t->flags & IMAGE_BPE_FLAG_CHAT)
        trim();
    if (terminal.size)
        say("\r\n");
    if (terminal.size && terminal.line[0] == '/')
        obey_command();
    else if (terminal.size)
        ask();
    if (!terminal.answering)
        begin_line();
    return 1;
}

/* ---- answers ---- */

void terminal_token(uint32_t token)
{
    terminal.token = token;
    if (!is_stop(token))
        shown_put(tokenizer_decode(engine_tokenizer(), token));
}

void terminal_end(const struct run *run, int error, uint32_t reason)
{
    terminal.answering = 0;
    terminal.evaluated = run->evaluated;
    terminal.generated = run->generated;
    terminal.prefill_us = run->first_us - run->job->started_us;
    terminal.decode_us = run->last_us - run->first_us;
    shown_end();
    if (error == E_CANCELLED)
        say("\r\n[cancelled]");
    else if (error == E_CONTEXT_FULL)
        say("\r\n[the context is full: /reset begins anew]");
    else if (error == E_NOT_READY)
        say("no model is loaded: the boot report says why");
    else if (error)
        say_number("\r\n[error ", (uint64_t)-(int64_t)error, "]");
    else if (reason == WIRE_REASON_LENGTH)
        say("\r\n[cut off]");
    terminal.length = terminal.active ? session_length() : 0;
    if (terminal.active)
        begin_line();
}
