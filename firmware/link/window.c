/* SPDX-License-Identifier: Apache-2.0 */
#include "link/window.h"

#include <string.h>

#define HEAD_BYTES (WIRE_FRAME_SIZE + WIRE_CRC_BYTES + 5u) /* delimiters and stuffing, at most */

static struct window_slot *slot_at(struct window *window, uint16_t seq)
{
    return &window->slots[seq % WIRE_WINDOW_FRAMES];
}

void window_open(struct window *window, uint16_t credit)
{
    window->first = window->cursor = window->fresh = window->end = 0;
    window->probing = window->tries = 0;
    window->credit = credit;
}

uint32_t window_room(const struct window *window)
{
    return WIRE_WINDOW_FRAMES - (uint16_t)(window->end - window->first);
}

void window_push(struct window *window, uint8_t type, uint8_t channel, const uint8_t *payload,
                 uint32_t size)
{
    struct window_slot *slot = slot_at(window, window->end++);
    slot->type = type;
    slot->channel = channel;
    slot->size = (uint16_t)size;
    memcpy(slot->payload, payload, size);
}

void window_acknowledge(struct window *window, uint16_t ack, uint16_t credit, uint64_t now_us)
{
    uint16_t done = (uint16_t)(ack - window->first);
    if (done > (uint16_t)(window->end - window->first))
        return;
    window->credit = credit;
    window->tries = 0; /* whoever speaks also listens: what is missing was lost */
    if (!done)
        return;
    if ((uint16_t)(window->cursor - window->first) < done)
        window->cursor = ack;
    window->first = ack;
    window->probing = 0;
    window->sent_us = now_us;
}

void window_repeat(struct window *window)
{
    window->cursor = window->first;
    window->probing = 0;
}

static uint64_t repeat_us(const struct window *window)
{
    uint64_t wait = (uint64_t)WIRE_REPEAT_US << window->tries;
    return wait < WIRE_REPEAT_MAX_US ? wait : WIRE_REPEAT_MAX_US;
}

/* Encoded bytes of the frames under way and of the one at the cursor. */
static uint32_t bytes_with_next(struct window *window)
{
    uint32_t bytes = 0;
    for (uint16_t seq = window->first; seq != (uint16_t)(window->cursor + 1u); seq++)
        bytes += HEAD_BYTES + slot_at(window, seq)->size;
    return bytes;
}

static int is_blocked(struct window *window)
{
    if (window->cursor == window->end)
        return 1;
    return window->cursor != window->first &&
           (window->probing || bytes_with_next(window) > window->credit);
}

static int is_overdue(const struct window *window, uint64_t now_us)
{
    return window->cursor != window->first && window->tries < WIRE_REPEAT_TRIES &&
           now_us - window->sent_us >= repeat_us(window);
}

static void count_repetition(struct window *window)
{
    if (window->cursor == window->fresh)
        window->fresh++;
    else
        window->repeated++;
}

int window_next(struct window *window, uint64_t now_us, struct frame *frame)
{
    if (is_blocked(window)) {
        if (!is_overdue(window, now_us))
            return 0;
        /* Only the oldest frame: perhaps nobody listens. */
        window->cursor = window->first;
        window->probing = 1;
        window->tries++;
    }
    const struct window_slot *slot = slot_at(window, window->cursor);
    frame->type = slot->type;
    frame->channel = slot->channel;
    frame->flags = 0;
    frame->seq = window->cursor;
    frame->length = slot->size;
    frame->payload = slot->payload;
    count_repetition(window);
    window->cursor++;
    window->sent_us = now_us;
    return 1;
}
