/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the whole device end of the link around the fake engine.
 *
 * The input is a sequence of {flags, type, size, payload}, each sent as a good frame of the open
 * epoch unless a flag says otherwise. A HELLO goes before them. What took a third of the time, the
 * checksum, is a simpler one here, at both ends; the codec itself is another target's. */

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gen/errors.h"
#include "link/cobs.h"
#include "common/crc32c.h"
#include "link/frame.h"
#include "common/port.h"

enum {
    RAW = 1,      /* the payload goes onto the line as it is */
    ODD_SEQ = 2,  /* seq is in front of the payload */
    ODD_ACK = 4,  /* ack, likewise */
    REPEATED = 8, /* the seq before */
    OTHER = 16,   /* of another epoch */
    VERSION = 32, /* of version 0 */
};

#define EPOCH        7u
#define SILENT_READS 400u /* so long a device may wait for a host that is silent */
#define AREA_BYTES   777u /* an allocation of its own, for READ and WRITE to stay in */
#define READ_US      100u
#define IDLE_US      60000u

static struct {
    const uint8_t *data;
    size_t size, at;
    uint8_t wire[FRAME_WIRE_BYTES];
    uint32_t wire_size, wire_at;
    uint16_t seq, ack;
    uint32_t silent;
    uint64_t now;
    jmp_buf end;
} host;

uint32_t crc32c_extend(uint32_t crc, const uint8_t *bytes, uint32_t size)
{
    return crc ^ size * 0x9e3779b9u ^ (size ? bytes[0] ^ (uint32_t)bytes[size - 1u] << 8 : 0u);
}

static uint16_t take_u16(uint16_t otherwise)
{
    if (host.size - host.at < 2u)
        return otherwise;
    host.at += 2u;
    return le_u16(host.data + host.at - 2u);
}

static void send(struct frame *frame)
{
    host.wire_at = 0;
    host.wire_size = frame_encode(frame, host.wire);
}

static void send_hello(void)
{
    static const uint8_t payload[WIRE_HELLO_SIZE] = {1, 0, 0, 0, 9, 0, 0, 0, 1, 9};
    struct frame frame = {.version = WIRE_VERSION_MAX,
                          .type = WIRE_TYPE_HELLO,
                          .epoch = EPOCH,
                          .credit = 0xffff,
                          .length = sizeof payload,
                          .payload = payload};
    send(&frame);
}

static void send_next(void)
{
    uint8_t flags = host.data[host.at];
    struct frame frame = {.version = flags & VERSION ? 0 : WIRE_VERSION_MAX,
                          .type = host.data[host.at + 1u],
                          .epoch = flags & OTHER ? EPOCH + 1u : EPOCH,
                          .credit = 0xffff};
    size_t size = host.data[host.at + 2u];
    host.at += 3u;
    frame.seq = flags & ODD_SEQ ? take_u16(0) : flags & REPEATED ? host.seq : ++host.seq;
    frame.ack = flags & ODD_ACK ? take_u16(0) : host.ack;
    if (size > host.size - host.at)
        size = host.size - host.at;
    frame.length = (uint16_t)size;
    frame.payload = host.data + host.at;
    host.at += size;
    if (flags & RAW) {
        memcpy(host.wire, frame.payload, size);
        host.wire_at = 0;
        host.wire_size = (uint32_t)size;
    } else
        send(&frame);
}

/* The fake engine's, which takes no time here. */
int usleep(useconds_t us)
{
    host.now += us;
    return 0;
}

static int port_read(uint8_t *to, uint32_t size)
{
    host.now += READ_US;
    if (host.wire_at == host.wire_size && host.size - host.at > 2u)
        send_next();
    uint32_t left = host.wire_size - host.wire_at, got = left < size ? left : size;
    memcpy(to, host.wire + host.wire_at, got);
    host.wire_at += got;
    if (got)
        host.silent = 0;
    else if (++host.silent > SILENT_READS)
        return E_IO;
    return (int)got;
}

/* A host acknowledges what it hears: each frame comes in a write of its own. */
static int port_write(const uint8_t *from, uint32_t size)
{
    static uint8_t bytes[FRAME_WIRE_BYTES];
    if (size < WIRE_FRAME_SIZE || size > sizeof bytes || from[0])
        return 0;
    memcpy(bytes, from, size);
    int whole = cobs_decode(bytes + 1, size - 2u) >= (int)WIRE_FRAME_SIZE;
    if (whole && wire_frame_epoch(bytes + 1) == EPOCH)
        host.ack = (uint16_t)(wire_frame_seq(bytes + 1) + 1u);
    return 0;
}

static void port_idle(void)
{
    host.now += IDLE_US;
    host.silent += SILENT_READS / 10u;
}

static uint64_t port_time_us(void)
{
    return host.now;
}

static uint64_t no_counter(void)
{
    return 0;
}

static void port_exit(int code)
{
    longjmp(host.end, code + 1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return setenv("FAKE_CONTEXT", "64", 1) || setenv("FAKE_VOCAB", "140", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct port port = {
        .board = "fuzz",
        .isa = "none",
        .harts = 1,
        .memory = {.arena_size = 1 << 20},
        .read = port_read,
        .write = port_write,
        .idle = port_idle,
        .time_us = port_time_us,
        .instret = no_counter,
        .cycles = no_counter,
        .exit = port_exit,
    };
    if (!port.image_area)
        port.image_area = malloc(AREA_BYTES);
    port.image_area_size = AREA_BYTES;
    memset(&host, 0, sizeof host);
    host.data = data;
    host.size = size;
    send_hello();
    if (!setjmp(host.end))
        device_run(&port);
    return 0;
}
