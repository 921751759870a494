/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the frame codec and the receive ring. The first byte chooses what the others
 * are: bytes from the line, or a header and payload that get the right checksum, so that what is
 * behind it is reached, too. */

#include <stdlib.h>
#include <string.h>

#include "gen/errors.h"
#include "link/cobs.h"
#include "common/crc32c.h"
#include "link/frame.h"
#include "link/ring.h"

static void check(int holds)
{
    if (!holds)
        abort();
}

/* A frame that was read is written as bytes that read as the same frame. */
static void check_again(const struct frame *frame)
{
    static struct frame_reader reader;
    uint8_t wire[FRAME_WIRE_BYTES];
    struct frame again;
    uint32_t size = frame_encode(frame, wire);
    check(size <= FRAME_WIRE_BYTES);
    for (uint32_t i = 0; i < size; i++)
        check(frame_reader_push(&reader, wire[i], &again) == (i && i == size - 1));
    check(again.type == frame->type && again.seq == frame->seq && again.length == frame->length);
    check(!memcmp(again.payload, frame->payload, frame->length));
}

static void read_line(const uint8_t *data, size_t size)
{
    static struct frame_reader reader;
    static struct ring ring;
    struct frame frame;
    uint8_t taken[7];
    memset(&reader, 0, sizeof reader);
    memset(&ring, 0, sizeof ring);
    for (size_t at = 0; at < size || ring.held;) {
        while (at < size && ring_put(&ring, data[at]))
            at++;
        uint32_t got = ring_take(&ring, taken, 1u + ring.held % sizeof taken);
        for (uint32_t i = 0; i < got; i++) {
            int result = frame_reader_push(&reader, taken[i], &frame);
            check(result == 0 || result == 1 || result == E_FRAME);
            if (result == 1)
                check_again(&frame);
        }
    }
}

/* What stuffing gives holds no 0, is undone to the same bytes, and is as long as promised. */
static void read_sealed(const uint8_t *data, size_t size)
{
    uint32_t raw = (uint32_t)size + WIRE_CRC_BYTES, most = raw + raw / 254u + 1u;
    uint8_t *bytes = malloc(raw), *wire = malloc(most + 1u);
    memcpy(bytes, data, size);
    le_put_u32(bytes + size, crc32c_extend(0, bytes, (uint32_t)size));
    uint32_t stuffed = cobs_encode(bytes, raw, wire);
    check(stuffed <= most && !memchr(wire, 0, stuffed));
    wire[stuffed] = 0;
    read_line(wire, stuffed + 1u);
    check(cobs_decode(wire, stuffed) == (int)raw && !memcmp(wire, bytes, raw));
    free(bytes);
    free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size && data[0] & 1)
        read_sealed(data + 1, size - 1);
    else if (size)
        read_line(data + 1, size - 1);
    return 0;
}
