/* SPDX-License-Identifier: Apache-2.0 */
#include "link/link.h"

#include <string.h>

#include "gen/errors.h"

#define READ_BYTES   64u
#define READS_A_POLL 64u

static struct {
    const struct port *port;
    link_receiver receiver;
    struct frame_reader reader;
    struct link_counters counters;
    uint16_t epoch;
    uint16_t receive_next;
    uint16_t send_next;
    uint8_t open;
    uint8_t gone;
} line;

static uint8_t wire[FRAME_WIRE_BYTES];

void link_init(const struct port *port, link_receiver receiver)
{
    memset(&line, 0, sizeof line);
    line.port = port;
    line.receiver = receiver;
}

void link_open(const struct frame *hello)
{
    line.epoch = hello->epoch;
    line.receive_next = (uint16_t)(hello->seq + 1u);
    line.send_next = 0;
    line.counters.received = 1;
    line.open = 1;
}

int link_is_open(void)
{
    return line.open;
}

/* Whether the frame is a new one of this epoch. Repetition is the sender's business in a later
 * version; here a gap is only counted. */
static int frame_is_new(const struct frame *frame)
{
    if (!line.open || frame->epoch != line.epoch)
        return 0;
    uint16_t ahead = (uint16_t)(frame->seq - line.receive_next);
    if (ahead >= 0x8000u) {
        line.counters.duplicate++;
        return 0;
    }
    line.counters.lost += ahead;
    line.counters.received++;
    line.receive_next = (uint16_t)(frame->seq + 1u);
    return 1;
}

static void take_byte(uint8_t byte)
{
    struct frame frame;
    int got = frame_reader_push(&line.reader, byte, &frame);
    if (got < 0)
        line.counters.damaged++;
    /* HELLO is exempt from epoch and version, or two ends that disagree could never say so. */
    else if (got && (frame.type == WIRE_TYPE_HELLO || frame_is_new(&frame)))
        line.receiver(&frame);
}

int link_poll(void)
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
    return line.gone ? E_IO : total;
}

int link_send(uint8_t type, uint8_t channel, const uint8_t *payload, uint32_t size)
{
    struct frame frame = {
        .version = WIRE_VERSION_MAX,
        .type = type,
        .channel = channel,
        .epoch = line.epoch,
        .seq = line.send_next++,
        .ack = line.receive_next,
        .credit = WIRE_RECEIVE_BYTES,
        .length = (uint16_t)size,
        .payload = payload,
    };
    uint32_t bytes = frame_encode(&frame, wire);
    if (!line.gone && line.port->write(wire, bytes) < 0)
        line.gone = 1;
    return line.gone ? E_IO : 0;
}

const struct link_counters *link_counters(void)
{
    return &line.counters;
}
