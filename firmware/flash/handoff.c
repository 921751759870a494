/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/handoff.h"

#include <string.h>

#include "gen/selector.h"
#include "link/crc32c.h"

#define SLOT_OFFSET 8u
#define CRC_OFFSET  12u

void handoff_write(uint8_t *to, uint32_t slot)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    memcpy(to, magic, sizeof magic);
    le_put_u32(to + SLOT_OFFSET, slot);
    le_put_u32(to + CRC_OFFSET, crc32c_extend(0, to, CRC_OFFSET));
}

int handoff_take(uint8_t *from)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    uint32_t slot = le_u32(from + SLOT_OFFSET);
    int good = !memcmp(from, magic, sizeof magic) &&
               le_u32(from + CRC_OFFSET) == crc32c_extend(0, from, CRC_OFFSET) &&
               slot < SELECTOR_SLOTS;
    memset(from, 0, HANDOFF_BYTES);
    return good ? (int)slot : -1;
}
