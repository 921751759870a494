/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/handoff.h"

#include <string.h>

#include "gen/selector.h"
#include "link/crc32c.h"

#define SLOT_OFFSET     8u
#define SELECTOR_OFFSET 12u
#define CRC_OFFSET      16u

void handoff_write(uint8_t *to, const struct handoff *handoff)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    memcpy(to, magic, sizeof magic);
    le_put_u32(to + SLOT_OFFSET, handoff->slot);
    le_put_u32(to + SELECTOR_OFFSET, handoff->selector);
    le_put_u32(to + CRC_OFFSET, crc32c_extend(0, to, CRC_OFFSET));
}

int handoff_take(uint8_t *from, struct handoff *handoff)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    handoff->slot = le_u32(from + SLOT_OFFSET);
    handoff->selector = le_u32(from + SELECTOR_OFFSET);
    int good = !memcmp(from, magic, sizeof magic) &&
               le_u32(from + CRC_OFFSET) == crc32c_extend(0, from, CRC_OFFSET) &&
               handoff->slot < SELECTOR_SLOTS;
    memset(from, 0, HANDOFF_BYTES);
    return good;
}
