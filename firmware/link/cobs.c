/* SPDX-License-Identifier: Apache-2.0 */
#include "link/cobs.h"

#include "gen/errors.h"

uint32_t cobs_encode(const uint8_t *from, uint32_t size, uint8_t *to)
{
    uint32_t code_at = 0, out = 1;
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

int cobs_decode(uint8_t *bytes, uint32_t size)
{
    uint32_t in = 0, out = 0;
    while (in < size) {
        uint32_t code = bytes[in++];
        if (code == 0 || code - 1u > size - in)
            return E_FRAME;
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
