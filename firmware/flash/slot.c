/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/slot.h"

#include <stddef.h>

#include "drivers/virtio_blk.h"
#include "flash/handoff.h"
#include "flash/update.h"
#include "gen/board.h"

static struct update_medium medium;

static int sector_read(void *context, uint64_t sector, uint8_t *to)
{
    (void)context;
    return virtio_blk_read(sector, to);
}

static int sector_write(void *context, uint64_t sector, const uint8_t *from)
{
    (void)context;
    return virtio_blk_write(sector, from);
}

static int sector_sync(void *context)
{
    (void)context;
    return virtio_blk_sync();
}

const struct port_slot *slot_open(uint8_t *handoff)
{
    struct handoff booted;

    if (!handoff_take(handoff, &booted))
        return NULL;
    if (virtio_blk_init(BOARD_BLOCK_BASE, BOARD_BLOCK_STRIDE, BOARD_BLOCK_COUNT))
        return NULL;
    medium = (struct update_medium){.read = sector_read,
                                    .write = sector_write,
                                    .sync = sector_sync,
                                    .selector = booted.selector};
    for (uint32_t i = 0; i < SELECTOR_SLOTS; i++) {
        medium.start[i] = booted.start[i];
        medium.sectors[i] = booted.sectors[i];
    }
    return update_slot(&medium, booted.slot);
}
