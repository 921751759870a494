/* SPDX-License-Identifier: Apache-2.0 */
#include "link/transfer.h"

#include <stddef.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/le.h"
#include "gen/errors.h"
#include "gen/wire.h"
#include "link/crc32c.h"
#include "link/pending.h"

static const struct port *port;

void transfer_init(const struct port *the_port)
{
    port = the_port;
}

int transfer_check(const struct range *range)
{
    uint64_t total = port->image_area ? port->image_area_size : 0;
    if (range->space > WIRE_SPACE_SESSION)
        return E_PARAMETER;
    if (range->space == WIRE_SPACE_SESSION) {
        if (!engine_info())
            return E_NOT_READY;
        if (range->session >= engine_info()->sessions)
            return E_SESSION;
        total = engine_state_bytes(range->session);
    }
    return range->offset <= total && range->size <= total - range->offset ? 0 : E_RANGE;
}

/* What lies in one piece from `offset` on, at most `*size` bytes. */
static uint8_t *piece_at(const struct range *range, uint64_t offset, uint64_t *size)
{
    if (range->space == WIRE_SPACE_IMAGE)
        return port->image_area + offset;
    uint64_t there;
    uint8_t *piece = engine_state_at(range->session, offset, &there);
    *size = there < *size ? there : *size;
    return piece;
}

void transfer_read(const struct range *range, uint8_t *to)
{
    for (uint64_t done = 0, size; done < range->size; done += size) {
        size = range->size - done;
        memcpy(to + done, piece_at(range, range->offset + done, &size), size);
    }
}

uint32_t transfer_sum(const struct range *range)
{
    uint32_t crc = 0;
    for (uint64_t done = 0, size; done < range->size; done += size) {
        size = range->size - done;
        crc = crc32c_extend(crc, piece_at(range, range->offset + done, &size), (uint32_t)size);
    }
    return crc;
}

/* Tokens of the history are indices later on: whole ones, and of the vocabulary. */
static int tokens_check(const struct range *range, const uint8_t *from)
{
    uint64_t history = engine_state_history_bytes(range->session);
    if (range->offset >= history)
        return 0;
    uint64_t inside = history - range->offset;
    uint64_t size = range->size < inside ? range->size : inside;
    if (range->offset % 4u || size % 4u)
        return E_RANGE;
    for (uint64_t i = 0; i < size; i += 4u)
        if (le_u32(from + i) >= engine_info()->vocab)
            return E_TOKEN;
    return 0;
}

int transfer_write(const struct range *range, const uint8_t *from)
{
    int error = transfer_check(range);
    if (!error && range->space == WIRE_SPACE_IMAGE && engine_info())
        error = E_LOADED;
    if (!error && range->space == WIRE_SPACE_SESSION)
        error = tokens_check(range, from);
    for (uint64_t done = 0, size; !error && done < range->size; done += size) {
        size = range->size - done;
        memcpy(piece_at(range, range->offset + done, &size), from + done, size);
    }
    return error;
}
