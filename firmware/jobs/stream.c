/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/stream.h"

#include <string.h>

#include "gen/errors.h"
#include "gen/wire.h"
#include "link/link.h"

struct record {
    uint32_t token;
    uint32_t time_us;
    uint32_t digest;
};

static struct {
    struct stream_facts facts;
    uint32_t sent;
    uint32_t end_size;
    uint8_t end_type; /* 0: still running */
    uint8_t end_sent;
    uint8_t attached;
    uint8_t end[WIRE_DONE_SIZE];
    struct record log[WIRE_TOKEN_LOG]; /* token i in entry i mod WIRE_TOKEN_LOG */
} stream;

static uint8_t message[WIRE_MAX_PAYLOAD];

void stream_init(void)
{
    stream.facts = (struct stream_facts){0, 0, 0};
    stream.attached = 0;
}

void stream_begin(uint32_t request, uint32_t session)
{
    stream.facts = (struct stream_facts){request, session, 0};
    stream.sent = 0;
    stream.end_type = stream.end_sent = 0;
    stream.attached = 1;
}

int stream_has_room(void)
{
    return stream.facts.made - stream.sent < WIRE_TOKEN_LOG;
}

void stream_put_token(uint32_t token, uint32_t time_us, uint32_t digest)
{
    stream.log[stream.facts.made++ % WIRE_TOKEN_LOG] = (struct record){token, time_us, digest};
}

void stream_end(uint8_t type, const uint8_t *payload, uint32_t size)
{
    memcpy(stream.end, payload, size);
    stream.end_size = size;
    stream.end_type = type;
}

static void send_tokens(void)
{
    uint32_t left = stream.facts.made - stream.sent;
    uint32_t count = left < WIRE_MAX_TOKEN_RECORDS ? left : WIRE_MAX_TOKEN_RECORDS;
    wire_tokens_set_request(message, stream.facts.request);
    wire_tokens_set_index(message, stream.sent);
    wire_tokens_set_count(message, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct record *from = &stream.log[stream.sent++ % WIRE_TOKEN_LOG];
        uint8_t *to = message + WIRE_TOKENS_SIZE + i * WIRE_TOKEN_RECORD_SIZE;
        wire_token_record_set_token(to, from->token);
        wire_token_record_set_time_us(to, from->time_us);
        wire_token_record_set_digest(to, from->digest);
    }
    link_send(WIRE_TYPE_TOKENS, WIRE_CHANNEL_STREAM, message,
              WIRE_TOKENS_SIZE + count * WIRE_TOKEN_RECORD_SIZE);
}

int stream_pump(void)
{
    if (!stream.attached)
        return 1;
    while (link_room() && stream.sent != stream.facts.made)
        send_tokens();
    if (stream.sent != stream.facts.made)
        return 0;
    if (stream.end_type && !stream.end_sent) {
        if (!link_room())
            return 0;
        stream.end_sent = 1;
        link_send(stream.end_type, WIRE_CHANNEL_STREAM, stream.end, stream.end_size);
    }
    return 1;
}

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
