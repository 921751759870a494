/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/slot.h"

#include <stddef.h>

#include "drivers/virtio_blk.h"
#include "flash/handoff.h"
#include "flash/update.h"
#include "gen/board.h"

static struct update_medium medium;
static struct update update;
static struct port_slot slot;

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

static int slot_read(uint64_t offset, uint8_t *to, uint32_t size)
{
    return update_read(&update, offset, to, size);
}

static int slot_write(uint64_t offset, const uint8_t *from, uint32_t size)
{
    return update_write(&update, offset, from, size);
}

static int slot_finish(uint64_t bytes)
{
    return update_finish(&update, bytes);
}

static int slot_confirm(void)
{
    return update_confirm(&update);
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
    if (update_open(&update, &medium, booted.slot))
        return NULL;
    slot =
        (struct port_slot){update_room(&update), slot_read, slot_write, slot_finish, slot_confirm};
    return &slot;
}
