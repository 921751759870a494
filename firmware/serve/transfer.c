/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/transfer.h"

#include <stddef.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/le.h"
#include "gen/errors.h"
#include "gen/wire.h"
#include "jobs/pending.h"
#include "link/answer.h"
#include "link/link.h"

struct range {
    const struct serve *serve;
    uint32_t space; /* WIRE_SPACE_* */
    uint32_t session;
    uint64_t offset;
    uint32_t size;
    const struct engine_info *model; /* of a session, once range_check() has found one */
};

#define PIECE_BYTES 512u

static uint8_t answer[WIRE_MAX_PAYLOAD];
static uint8_t slot_piece[PIECE_BYTES];

/* Whether the range is there. Returns 0, E_PARAMETER, E_NOT_READY, E_SESSION or E_RANGE. */
static int range_check(struct range *range)
{
    const struct port *port = range->serve->port;
    uint64_t total = port->image_area ? port->image_area_size : 0;
    if (range->space > WIRE_SPACE_SLOT || (range->space == WIRE_SPACE_SLOT && !port->slot))
        return E_PARAMETER;
    if (range->space == WIRE_SPACE_SLOT)
        total = port->slot->bytes;
    if (range->space == WIRE_SPACE_SESSION) {
        range->model = engine_model(range->serve->engine);
        if (!range->model)
            return E_NOT_READY;
        if (range->session >= range->model->sessions)
            return E_SESSION;
        total = engine_state_bytes(range->serve->engine, range->session);
    }
    return range->offset <= total && range->size <= total - range->offset ? 0 : E_RANGE;
}

/* What lies in one piece of memory from `offset` on, at most `*size` bytes. */
static uint8_t *piece_at(const struct range *range, uint64_t offset, uint64_t *size)
{
    if (range->space == WIRE_SPACE_IMAGE)
        return range->serve->port->image_area + offset;
    uint64_t there;
    uint8_t *piece = engine_state_at(range->serve->engine, range->session, offset, &there);
    *size = there < *size ? there : *size;
    return piece;
}

/* The same for reading: what lies on the medium comes into memory first. NULL where it cannot be
 * read. */
static const uint8_t *piece_read(const struct range *range, uint64_t offset, uint64_t *size)
{
    if (range->space != WIRE_SPACE_SLOT)
        return piece_at(range, offset, size);
    *size = *size < PIECE_BYTES ? *size : PIECE_BYTES;
    return range->serve->port->slot->read(offset, slot_piece, (uint32_t)*size) ? NULL : slot_piece;
}

static int range_read(const struct range *range, uint8_t *to)
{
    for (uint64_t done = 0, size; done < range->size; done += size) {
        size = range->size - done;
        const uint8_t *piece = piece_read(range, range->offset + done, &size);
        if (!piece)
            return E_IO;
        memcpy(to + done, piece, size);
    }
    return 0;
}

static int range_sum(const struct range *range, uint32_t *crc)
{
    *crc = 0;
    for (uint64_t done = 0, size; done < range->size; done += size) {
        size = range->size - done;
        const uint8_t *piece = piece_read(range, range->offset + done, &size);
        if (!piece)
            return E_IO;
        *crc = crc32c_extend(*crc, piece, (uint32_t)size);
    }
    return 0;
}

/* Tokens of the history are indices later on: whole ones, and of the vocabulary. */
static int tokens_check(const struct range *range, const uint8_t *from)
{
    uint64_t history = engine_state_history_bytes(range->serve->engine, range->session);
    if (range->offset >= history)
        return 0;
    uint64_t inside = history - range->offset;
    uint64_t size = range->size < inside ? range->size : inside;
    if (range->offset % 4u || size % 4u)
        return E_RANGE;
    for (uint64_t i = 0; i < size; i += 4u)
        if (le_u32(from + i) >= range->model->vocab)
            return E_TOKEN;
    return 0;
}

static int range_write(struct range *range, const uint8_t *from)
{
    int error = range_check(range);
    if (!error && range->space == WIRE_SPACE_IMAGE && engine_model(range->serve->engine))
        error = E_LOADED;
    if (!error && range->space == WIRE_SPACE_SESSION)
        error = tokens_check(range, from);
    if (!error && range->space == WIRE_SPACE_SLOT)
        return range->serve->port->slot->write(range->offset, from, range->size);
    for (uint64_t done = 0, size; !error && done < range->size; done += size) {
        size = range->size - done;
        memcpy(piece_at(range, range->offset + done, &size), from + done, size);
    }
    return error;
}

/* ---- requests ---- */

void transfer_receive_read(struct serve *serve, const struct frame *frame)
{
    const uint8_t *p = frame->payload;
    struct range range = {
        serve, wire_read_space(p), wire_read_session(p), wire_read_offset(p), wire_read_size(p),
        NULL};
    uint32_t request = wire_read_request(p);
    int error = range.size > WIRE_MAX_DATA_BYTES ? E_PARAMETER : range_check(&range);
    if (!error)
        error = range_read(&range, answer + WIRE_DATA_SIZE);
    if (error) {
        answer_refuse(request, frame->type, error, range.offset);
        return;
    }
    wire_data_set_request(answer, request);
    wire_data_set_count(answer, range.size);
    wire_data_set_offset(answer, range.offset);
    link_send(WIRE_TYPE_DATA, WIRE_CHANNEL_CONTROL, answer, WIRE_DATA_SIZE + range.size);
}

void transfer_receive_write(struct serve *serve, const struct frame *frame)
{
    const uint8_t *p = frame->payload;
    struct range range = {serve,
                          wire_write_space(p),
                          wire_write_session(p),
                          wire_write_offset(p),
                          wire_write_count(p),
                          NULL};
    int error = range_write(&range, p + WIRE_WRITE_SIZE);
    if (error)
        answer_refuse(wire_write_request(p), frame->type, error, range.offset);
    else
        answer_ok(wire_write_request(p), range.size);
}

void transfer_receive_sum(struct serve *serve, const struct frame *frame)
{
    const uint8_t *p = frame->payload;
    struct range range = {
        serve, wire_sum_space(p), wire_sum_session(p), wire_sum_offset(p), wire_sum_size(p), NULL};
    uint32_t crc;
    int error = range.size > WIRE_SUM_BYTES ? E_PARAMETER : range_check(&range);
    if (!error)
        error = range_sum(&range, &crc);
    if (error)
        answer_refuse(wire_sum_request(p), frame->type, error, range.offset);
    else
        answer_ok(wire_sum_request(p), crc);
}

void transfer_receive_state(struct serve *serve, const struct frame *frame,
                            const struct engine_info *model)
{
    uint32_t session = wire_state_session(frame->payload), tokens[WIRE_MAX_STATE_TOKENS];
    int error = session < model->sessions ? 0 : E_SESSION;
    if (!error && pending_count(session) > WIRE_MAX_STATE_TOKENS)
        error = E_PENDING;
    if (error) {
        answer_refuse(wire_state_request(frame->payload), frame->type, error, session);
        return;
    }
    uint32_t count = pending_copy(session, tokens, WIRE_MAX_STATE_TOKENS);
    wire_state_reply_set_request(answer, wire_state_request(frame->payload));
    wire_state_reply_set_length(answer, engine_length(serve->engine, session));
    wire_state_reply_set_high(answer, engine_high(serve->engine, session));
    wire_state_reply_set_count(answer, count);
    wire_state_reply_set_bytes(answer, engine_state_bytes(serve->engine, session));
    for (uint32_t i = 0; i < count; i++)
        le_put_u32(answer + WIRE_STATE_REPLY_SIZE + 4u * i, tokens[i]);
    link_send(WIRE_TYPE_STATE_REPLY, WIRE_CHANNEL_CONTROL, answer,
              WIRE_STATE_REPLY_SIZE + 4u * count);
}
