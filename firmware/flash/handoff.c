/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/handoff.h"

#include <string.h>

#include "common/crc32c.h"

#define SLOT_OFFSET     8u
#define SELECTOR_OFFSET 12u
#define PARTS_OFFSET    16u
#define PART_BYTES      8u
#define CRC_OFFSET      (PARTS_OFFSET + SELECTOR_SLOTS * PART_BYTES)

void handoff_write(uint8_t *to, const struct handoff *handoff)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    memcpy(to, magic, sizeof magic);
    le_put_u32(to + SLOT_OFFSET, handoff->slot);
    le_put_u32(to + SELECTOR_OFFSET, handoff->selector);
    for (uint32_t i = 0; i < SELECTOR_SLOTS; i++) {
        le_put_u32(to + PARTS_OFFSET + i * PART_BYTES, handoff->start[i]);
        le_put_u32(to + PARTS_OFFSET + i * PART_BYTES + 4u, handoff->sectors[i]);
    }
    le_put_u32(to + CRC_OFFSET, crc32c_extend(0, to, CRC_OFFSET));
}

int handoff_take(uint8_t *from, struct handoff *handoff)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    handoff->slot = le_u32(from + SLOT_OFFSET);
    handoff->selector = le_u32(from + SELECTOR_OFFSET);
    for (uint32_t i = 0; i < SELECTOR_SLOTS; i++) {
        handoff->start[i] = le_u32(from + PARTS_OFFSET + i * PART_BYTES);
        handoff->sectors[i] = le_u32(from + PARTS_OFFSET + i * PART_BYTES + 4u);
    }
    int good = !memcmp(from, magic, sizeof magic) &&
               le_u32(from + CRC_OFFSET) == crc32c_extend(0, from, CRC_OFFSET) &&
               (handoff->slot < SELECTOR_SLOTS || handoff->slot == SELECTOR_NO_SLOT);
    memset(from, 0, HANDOFF_BYTES);
    return good;
}
