/* SPDX-License-Identifier: Apache-2.0 */
#include "link/frame.h"

#include "gen/errors.h"
#include "link/cobs.h"
#include "common/crc32c.h"

/*@ requires \valid_read(frame) && frame->length <= WIRE_MAX_PAYLOAD;
    requires \valid_read(frame->payload + (0 .. frame->length - 1));
    requires \valid(to + (0 .. FRAME_WIRE_BYTES - 1));
    requires \separated(frame, to + (0 .. FRAME_WIRE_BYTES - 1));
    assigns to[0 .. FRAME_WIRE_BYTES - 1];
    ensures 2 < \result <= FRAME_WIRE_BYTES;
*/
uint32_t frame_encode(const struct frame *frame, uint8_t *to)
{
    uint8_t raw[WIRE_MAX_RAW];
    wire_frame_set_version(raw, frame->version);
    wire_frame_set_type(raw, frame->type);
    wire_frame_set_channel(raw, frame->channel);
    wire_frame_set_flags(raw, frame->flags);
    wire_frame_set_epoch(raw, frame->epoch);
    wire_frame_set_seq(raw, frame->seq);
    wire_frame_set_ack(raw, frame->ack);
    wire_frame_set_credit(raw, frame->credit);
    wire_frame_set_length(raw, frame->length);
    /*@ loop invariant 0 <= i <= frame->length;
        loop assigns i, raw[WIRE_FRAME_SIZE .. WIRE_FRAME_SIZE + frame->length - 1];
        loop variant frame->length - i;
    */
    for (uint32_t i = 0; i < frame->length; i++)
        raw[WIRE_FRAME_SIZE + i] = frame->payload[i];
    uint32_t size = WIRE_FRAME_SIZE + frame->length;
    le_put_u32(raw + size, crc32c_extend(0, raw, size));
    to[0] = 0;
    uint32_t stuffed = cobs_encode(raw, size + WIRE_CRC_BYTES, to + 1);
    to[1 + stuffed] = 0;
    return stuffed + 2u;
}

/*@ requires stuffed <= WIRE_MAX_ENCODED;
    requires \valid(bytes + (0 .. stuffed - 1)) && \valid(frame);
    requires \separated(bytes + (0 .. stuffed - 1), frame);
    assigns bytes[0 .. stuffed - 1], *frame;
    ensures \result == 1 || \result == E_FRAME;
    ensures \result == 1 ==> frame->length <= WIRE_MAX_PAYLOAD &&
                             WIRE_FRAME_SIZE + frame->length <= stuffed &&
                             frame->payload == bytes + WIRE_FRAME_SIZE;
*/
static int frame_decode(uint8_t *bytes, uint32_t stuffed, struct frame *frame)
{
    int size = cobs_decode(bytes, stuffed);
    if (size < (int)(WIRE_FRAME_SIZE + WIRE_CRC_BYTES))
        return E_FRAME;
    uint32_t covered = (uint32_t)size - WIRE_CRC_BYTES;
    if (crc32c_extend(0, bytes, covered) != le_u32(bytes + covered))
        return E_FRAME;
    frame->version = wire_frame_version(bytes);
    frame->type = wire_frame_type(bytes);
    frame->channel = wire_frame_channel(bytes);
    frame->flags = wire_frame_flags(bytes);
    frame->epoch = wire_frame_epoch(bytes);
    frame->seq = wire_frame_seq(bytes);
    frame->ack = wire_frame_ack(bytes);
    frame->credit = wire_frame_credit(bytes);
    frame->length = wire_frame_length(bytes);
    frame->payload = bytes + WIRE_FRAME_SIZE;
    return frame->length == covered - WIRE_FRAME_SIZE && frame->length <= WIRE_MAX_PAYLOAD
               ? 1
               : E_FRAME;
}

/*@ requires \valid(reader) && reader->size <= WIRE_MAX_ENCODED;
    requires \valid(frame) && \separated(reader, frame);
    assigns *reader, *frame;
    ensures reader->size <= WIRE_MAX_ENCODED;
    ensures \result == 1 || \result == 0 || \result == E_FRAME;
    ensures \result == 1 ==> frame->length <= WIRE_MAX_PAYLOAD &&
                             \valid_read(frame->payload + (0 .. frame->length - 1));
*/
int frame_reader_push(struct frame_reader *reader, uint8_t byte, struct frame *frame)
{
    if (byte) {
        if (reader->size < sizeof reader->bytes)
            reader->bytes[reader->size++] = byte;
        else
            reader->overlong = 1;
        return 0;
    }
    uint32_t size = reader->size, overlong = reader->overlong;
    reader->size = 0;
    reader->overlong = 0;
    if (overlong)
        return E_FRAME;
    return size ? frame_decode(reader->bytes, size, frame) : 0;
}
