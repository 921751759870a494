/* SPDX-License-Identifier: Apache-2.0 */
/* A board as tools/powercut.py sees it: the modules of firmware/flash on a disk that is made of
 * callbacks. There is one board at a time. */
#include "flash/selector.h"
#include "flash/update.h"

#define COPY_SECTORS (SELECTOR_COPY_STRIDE / SELECTOR_SECTOR_BYTES)

static struct {
    int (*read)(uint64_t sector, uint8_t *to);
    int (*write)(uint64_t sector, const uint8_t *from);
    int (*sync)(void);
} disk;
static struct update_medium medium;
static struct update update;
static struct selector loader;

static int sector_read(void *context, uint64_t sector, uint8_t *to)
{
    (void)context;
    return disk.read(sector, to);
}

static int sector_write(void *context, uint64_t sector, const uint8_t *from)
{
    (void)context;
    return disk.write(sector, from);
}

static int sector_sync(void *context)
{
    (void)context;
    return disk.sync();
}

static int copy_read(void *context, uint32_t copy, uint8_t *to)
{
    return sector_read(context, copy * (uint64_t)COPY_SECTORS, to);
}

static int copy_write(void *context, uint32_t copy, const uint8_t *from)
{
    int error = sector_write(context, copy * (uint64_t)COPY_SECTORS, from);
    return error ? error : sector_sync(context);
}

/* The selector's copies lie at the start of the disk, behind them two slots of so many sectors. */
void board_insert(int (*read)(uint64_t, uint8_t *), int (*write)(uint64_t, const uint8_t *),
                  int (*sync)(void), uint64_t sectors)
{
    uint64_t first = SELECTOR_COPIES * COPY_SECTORS;
    disk.read = read;
    disk.write = write;
    disk.sync = sync;
    medium = (struct update_medium){.read = sector_read,
                                    .write = sector_write,
                                    .sync = sector_sync,
                                    .start = {first, first + sectors},
                                    .sectors = {sectors, sectors}};
}

/* ---- the boot loader ---- */

int board_start(void)
{
    static const struct selector_medium copies = {0, copy_read, copy_write};
    return selector_open(&loader, &copies);
}

int board_choose(uint32_t bad)
{
    return selector_choose(&loader, bad);
}

int board_trial(void)
{
    return loader.trial;
}

/* ---- the firmware ---- */

int board_run(uint32_t slot)
{
    return update_open(&update, &medium, slot);
}

int board_read(uint64_t offset, uint8_t *to, uint32_t size)
{
    return update_read(&update, offset, to, size);
}

int board_write(uint64_t offset, const uint8_t *from, uint32_t size)
{
    return update_write(&update, offset, from, size);
}

int board_finish(uint64_t bytes)
{
    return update_finish(&update, bytes);
}

int board_confirm(void)
{
    return update_confirm(&update);
}
