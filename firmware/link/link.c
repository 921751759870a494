/* SPDX-License-Identifier: Apache-2.0 */
#include "link/link.h"

#include <string.h>

#include "gen/errors.h"
#include "link/window.h"

#define READ_BYTES   64u
#define READS_A_POLL 64u

static struct {
    const struct port *port;
    struct link_receiver receiver;
    struct link_filter filter;
    struct frame_reader reader;
    struct link_counters counters;
    struct window window;
    uint32_t nonce;     /* of the HELLO that began the epoch */
    uint64_t heard_us;  /* when a good frame came */
    uint64_t asked_us;  /* when a repetition was last asked for */
    uint16_t asked_for; /* of which frame */
    uint16_t epoch;
    uint16_t receive_next; /* number of the frame awaited */
    uint8_t open;
    uint8_t gone;
    uint8_t ack_owed;
    uint8_t stranger;
    uint8_t spoiled; /* damage has come since */
} line;

static uint8_t wire[FRAME_WIRE_BYTES];

void link_init(const struct port *port, struct link_receiver receiver, struct link_filter filter)
{
    memset(&line, 0, sizeof line);
    line.port = port;
    line.receiver = receiver;
    line.filter = filter;
}

int link_open(const struct frame *hello, uint32_t nonce)
{
    if (line.open && hello->epoch == line.epoch && nonce == line.nonce)
        return 0;
    window_open(&line.window, hello->credit);
    line.epoch = hello->epoch;
    line.nonce = nonce;
    line.receive_next = 0;
    line.asked_for = UINT16_MAX;
    line.counters.received = 0;
    line.ack_owed = line.stranger = 0;
    line.open = 1;
    return 1;
}

void link_close(void)
{
    window_open(&line.window, 0);
    line.epoch = 0;
    line.ack_owed = line.open = 0;
}

int link_is_open(void)
{
    return line.open;
}

int link_heard_stranger(void)
{
    int heard = line.stranger;
    line.stranger = 0;
    return heard;
}

uint64_t link_heard_us(void)
{
    return line.heard_us;
}

int link_is_spoiled(void)
{
    return line.spoiled;
}

/* ---- sending ---- */

static void transmit(struct frame *frame)
{
    frame->version = WIRE_VERSION_MAX;
    frame->epoch = line.epoch;
    frame->ack = line.receive_next;
    frame->credit = WIRE_RECEIVE_BYTES;
    line.ack_owed = 0;
    uint32_t bytes = frame_encode(frame, wire);
    if (!line.gone && line.port->write(wire, bytes) < 0)
        line.gone = 1;
}

static void send_outside(uint8_t type, uint8_t flags, const uint8_t *payload, uint32_t size)
{
    struct frame frame = {
        .type = type,
        .channel = WIRE_CHANNEL_CONTROL,
        .flags = WIRE_FRAME_FLAG_UNNUMBERED | flags,
        .length = (uint16_t)size,
        .payload = payload,
    };
    transmit(&frame);
}

static void pump(void)
{
    struct frame frame;
    while (!line.gone && window_next(&line.window, line.port->time_us(), &frame))
        transmit(&frame);
}

uint32_t link_room(void)
{
    uint32_t room = window_room(&line.window);
    return room > WIRE_WINDOW_CONTROL ? room - WIRE_WINDOW_CONTROL : 0;
}

void link_send(uint8_t type, uint8_t channel, const uint8_t *payload, uint32_t size)
{
    window_push(&line.window, type, channel, payload, size);
    pump();
}

void link_send_unnumbered(uint8_t type, const uint8_t *payload, uint32_t size)
{
    send_outside(type, 0, payload, size);
}

/* ---- receiving ---- */

/* Once a while for each frame that is missing: a burst shall not be answered by a burst. */
static void ask_again(void)
{
    uint64_t now = line.port->time_us();
    if (!line.open || (line.asked_for == line.receive_next && now - line.asked_us < WIRE_ASK_US))
        return;
    line.asked_for = line.receive_next;
    line.asked_us = now;
    send_outside(WIRE_TYPE_ACK, WIRE_FRAME_FLAG_REPEAT, wire, 0);
}

/* Whether a numbered frame is the one awaited, and can be answered. */
static int is_next(const struct frame *frame)
{
    uint16_t ahead = (uint16_t)(frame->seq - line.receive_next);
    if (ahead >= 0x8000u) {
        line.counters.duplicate++;
        line.ack_owed = 1;
        return 0;
    }
    if (ahead) {
        line.counters.lost++;
        ask_again();
        return 0;
    }
    return window_room(&line.window) != 0;
}

static void take_frame(const struct frame *frame)
{
    line.heard_us = line.port->time_us();
    line.spoiled = 0;
    /* HELLO is exempt from epoch and version, or two ends that disagree could never say so. */
    if (frame->type == WIRE_TYPE_HELLO) {
        line.receiver.receive(line.receiver.context, frame);
        return;
    }
    if (!line.open || frame->epoch != line.epoch) {
        line.stranger = 1;
        return;
    }
    window_acknowledge(&line.window, frame->ack, frame->credit, line.port->time_us());
    if (frame->flags & WIRE_FRAME_FLAG_REPEAT)
        window_repeat(&line.window);
    if (frame->type == WIRE_TYPE_ACK)
        return;
    if (!(frame->flags & WIRE_FRAME_FLAG_UNNUMBERED)) {
        if (!is_next(frame))
            return;
        line.receive_next++;
        line.ack_owed = 1;
    } else if (frame->type != WIRE_TYPE_PING) {
        return; /* its answer might find no room */
    }
    line.counters.received++;
    line.receiver.receive(line.receiver.context, frame);
}

static void take_byte(uint8_t byte)
{
    struct frame frame;
    if (line.filter.takes(line.filter.context, byte))
        return;
    int got = frame_reader_push(&line.reader, byte, &frame);
    if (got < 0) {
        line.counters.damaged++;
        line.spoiled = 1;
        ask_again();
    } else if (got) {
        take_frame(&frame);
    }
}

static int receive(void)
{
    int total = 0;
    for (uint32_t reads = 0; reads < READS_A_POLL && !line.gone; reads++) {
        uint8_t bytes[READ_BYTES];
        int got = line.port->read(bytes, READ_BYTES);
        if (got < 0)
            line.gone = 1;
        if (got <= 0)
            break;
        for (int i = 0; i < got; i++)
            take_byte(bytes[i]);
        total += got;
    }
    return total;
}

int link_poll(void)
{
    int total = receive();
    pump();
    if (line.ack_owed)
        send_outside(WIRE_TYPE_ACK, 0, wire, 0);
    return line.gone ? E_IO : total;
}

const struct link_counters *link_counters(void)
{
    line.counters.repeated = line.window.repeated;
    return &line.counters;
}
