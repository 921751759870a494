/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/stream.h"

#include <string.h>

#include "common/crc32c.h"
#include "gen/errors.h"
#include "gen/wire.h"
#include "jobs/run.h"
#include "link/answer.h"
#include "link/link.h"

struct record {
    uint32_t token;
    uint32_t time_us;
    uint32_t digest;
};

static struct stream {
    struct stream_facts facts;
    uint32_t tokens_crc;
    uint32_t sent;
    uint32_t end_size;
    uint8_t end_type; /* 0: still running */
    uint8_t end_sent;
    uint8_t attached;
    uint8_t end[WIRE_DONE_SIZE];
    struct record log[WIRE_TOKEN_LOG]; /* token i in entry i mod WIRE_TOKEN_LOG */
} stream;

_Static_assert(WIRE_ERROR_SIZE <= WIRE_DONE_SIZE, "either end must fit");

static uint8_t message[WIRE_MAX_PAYLOAD];

void stream_init(void)
{
    stream.facts = (struct stream_facts){0, 0, 0};
    stream.attached = 0;
}

/* ---- to the link ---- */

static void send_tokens(struct stream *s)
{
    uint32_t left = s->facts.made - s->sent;
    uint32_t count = left < WIRE_MAX_TOKEN_RECORDS ? left : WIRE_MAX_TOKEN_RECORDS;
    wire_tokens_set_request(message, s->facts.request);
    wire_tokens_set_index(message, s->sent);
    wire_tokens_set_count(message, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct record *from = &s->log[s->sent++ % WIRE_TOKEN_LOG];
        uint8_t *to = message + WIRE_TOKENS_SIZE + i * WIRE_TOKEN_RECORD_SIZE;
        wire_token_record_set_token(to, from->token);
        wire_token_record_set_time_us(to, from->time_us);
        wire_token_record_set_digest(to, from->digest);
    }
    link_send(WIRE_TYPE_TOKENS, WIRE_CHANNEL_STREAM, message,
              WIRE_TOKENS_SIZE + count * WIRE_TOKEN_RECORD_SIZE);
}

static void pump(struct stream *s)
{
    while (s->attached && link_room() && s->sent != s->facts.made)
        send_tokens(s);
    if (!s->attached || !link_room() || !s->end_type || s->end_sent)
        return;
    s->end_sent = 1;
    link_send(s->end_type, WIRE_CHANNEL_STREAM, s->end, s->end_size);
}

void stream_pump(void)
{
    pump(&stream);
}

/* ---- of a run ---- */

static int stream_ready(void *context)
{
    const struct stream *s = context;
    return s->facts.made - s->sent < WIRE_TOKEN_LOG;
}

static void stream_token(void *context, const struct run *run, uint32_t token, uint32_t digest)
{
    struct stream *s = context;
    uint8_t bytes[4];
    le_put_u32(bytes, token);
    s->tokens_crc = crc32c_extend(s->tokens_crc, bytes, sizeof bytes);
    s->log[s->facts.made++ % WIRE_TOKEN_LOG] = (struct record){token, run->token_us, digest};
    pump(s);
}

static void stream_progress(void *context, const struct run *run)
{
    (void)context;
    uint8_t p[WIRE_PROGRESS_SIZE];
    wire_progress_set_request(p, run->job.request);
    wire_progress_set_done(p, run->evaluated);
    wire_progress_set_total(p, run->total);
    link_send_unnumbered(WIRE_TYPE_PROGRESS, p, sizeof p);
}

static void put_done(struct stream *s, const struct run *run, uint32_t reason)
{
    const struct job *job = &run->job;
    const struct port *port = run->port;
    uint8_t *p = s->end;
    s->end_type = WIRE_TYPE_DONE;
    s->end_size = WIRE_DONE_SIZE;
    wire_done_set_request(p, job->request);
    wire_done_set_reason(p, reason);
    wire_done_set_evaluated(p, run->evaluated);
    wire_done_set_generated(p, run->generated);
    wire_done_set_length(p, run_session_length(job->engine, job->session));
    wire_done_set_tokens_crc(p, s->tokens_crc);
    wire_done_set_first_us(p, run->first_us - run->started_us);
    wire_done_set_total_us(p, port->time_us() - run->started_us);
    wire_done_set_prefill_instret(p, run->first_instret - run->started_instret);
    wire_done_set_prefill_cycles(p, run->first_cycles - run->started_cycles);
    wire_done_set_decode_instret(p, port->instret() - run->first_instret);
    wire_done_set_decode_cycles(p, port->cycles() - run->first_cycles);
}

/* A run that was abandoned or has filled the context is done, too. */
static void stream_end(void *context, const struct run *run, int error, uint32_t reason)
{
    struct stream *s = context;
    if (!error)
        put_done(s, run, reason);
    else if (error == E_CONTEXT_FULL)
        put_done(s, run, WIRE_REASON_CONTEXT_FULL);
    else if (error == E_CANCELLED)
        put_done(s, run, WIRE_REASON_CANCELLED);
    else {
        s->end_type = WIRE_TYPE_ERROR;
        s->end_size = WIRE_ERROR_SIZE;
        answer_put_error(s->end, run->job.request, run->job.type, error, run->evaluated);
    }
}

static const struct sink sink = {stream_ready, stream_token, stream_progress, stream_end};

void stream_begin(struct job *job)
{
    stream.facts = (struct stream_facts){job->request, job->session, 0};
    stream.tokens_crc = stream.sent = 0;
    stream.end_type = stream.end_sent = 0;
    stream.attached = 1;
    job->sink = &sink;
    job->context = &stream;
}

/* ---- for who comes later ---- */

void stream_detach(void)
{
    stream.attached = 0;
}

void stream_forget(uint32_t session)
{
    int heard = !stream.attached || (stream.end_type && stream.end_sent);
    if (stream.facts.session == session && heard)
        stream_init();
}

int stream_resume(uint32_t request, uint32_t index)
{
    uint32_t made = stream.facts.made;
    if (!request || request != stream.facts.request || index > made ||
        made - index > WIRE_TOKEN_LOG)
        return E_RUN;
    stream.sent = index;
    stream.end_sent = 0;
    stream.attached = 1;
    return 0;
}

struct stream_facts stream_facts(void)
{
    return stream.facts;
}
