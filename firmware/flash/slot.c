/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/slot.h"

#include "drivers/virtio_blk.h"
#include "flash/handoff.h"
#include "flash/selector.h"
#include "gen/board.h"
#include "gen/errors.h"

static struct handoff booted;

/* The copies lie COPY_STRIDE apart from the first sector of the selector's partition. */
static uint64_t copy_sector(uint32_t copy)
{
    return booted.selector + (uint64_t)copy * (SELECTOR_COPY_STRIDE / VIRTIO_BLK_SECTOR);
}

static int read_copy(void *context, uint32_t copy, uint8_t *sector)
{
    (void)context;
    return virtio_blk_read(copy_sector(copy), sector);
}

static int write_copy(void *context, uint32_t copy, const uint8_t *sector)
{
    (void)context;
    return virtio_blk_write(copy_sector(copy), sector);
}

int slot_open(uint8_t *handoff)
{
    if (!handoff_take(handoff, &booted))
        return 0;
    return !virtio_blk_init(BOARD_BLOCK_BASE, BOARD_BLOCK_STRIDE, BOARD_BLOCK_COUNT);
}

int slot_confirm(void)
{
    static const struct selector_medium medium = {0, read_copy, write_copy};
    struct selector s;
    int error = selector_open(&s, &medium);
    return error ? error : selector_confirm(&s, booted.slot);
}
