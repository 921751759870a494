/* SPDX-License-Identifier: Apache-2.0 */
#include "link/cobs.h"

#include "gen/errors.h"

/*@ requires size + size / 254 + 1 <= UINT32_MAX;
    requires \valid_read(from + (0 .. size - 1));
    requires \valid(to + (0 .. size + size / 254));
    requires \separated(from + (0 .. size - 1), to + (0 .. size + size / 254));
    assigns to[0 .. size + size / 254];
    ensures 1 <= \result <= size + size / 254 + 1;
*/
uint32_t cobs_encode(const uint8_t *from, uint32_t size, uint8_t *to)
{
    uint32_t code_at = 0, out = 1;
    /*@
        loop invariant 0 <= i <= size && code_at < out <= code_at + 255;
        loop invariant out == code_at + 255 ==> i == size;
        loop invariant 254 * (out - 1 - i) + (out - code_at - 1) <= i <= out - 1;
        loop assigns i, out, code_at, to[0 .. size + size / 254];
        loop variant size - i;
    */
    for (uint32_t i = 0; i < size; i++) {
        if (from[i])
            to[out++] = from[i];
        if (!from[i] || (out - code_at == 255u && i + 1u < size)) {
            to[code_at] = (uint8_t)(out - code_at);
            code_at = out++;
        }
    }
    to[code_at] = (uint8_t)(out - code_at);
    return out;
}

/*@ requires size <= INT32_MAX;
    requires \valid(bytes + (0 .. size - 1));
    assigns bytes[0 .. size - 1];
    ensures \result == E_FRAME || 0 <= \result <= size;
*/
int cobs_decode(uint8_t *bytes, uint32_t size)
{
    uint32_t in = 0, out = 0;
    /*@ loop invariant out <= in <= size;
        loop assigns in, out, bytes[0 .. size - 1];
        loop variant size - in;
    */
    while (in < size) {
        uint32_t code = bytes[in++];
        if (code == 0 || code - 1u > size - in)
            return E_FRAME;
        /*@ loop invariant 1 <= i <= code && code - i <= size - in && out < in;
            loop invariant \at(in, LoopEntry) <= in;
            loop assigns i, in, out, bytes[0 .. size - 1];
            loop variant code - i;
        */
        for (uint32_t i = 1; i < code; i++) {
            if (!bytes[in])
                return E_FRAME;
            bytes[out++] = bytes[in++];
        }
        if (code < 255u && in < size)
            bytes[out++] = 0;
    }
    return (int)out;
}
