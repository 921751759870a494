/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/update.h"

#include <string.h>

#define NO_SECTOR ~(uint64_t)0

/* ---- the selector on this medium ---- */

static uint64_t copy_sector(const struct update *u, uint32_t copy)
{
    return u->medium->selector + (uint64_t)copy * (SELECTOR_COPY_STRIDE / SELECTOR_SECTOR_BYTES);
}

static int read_copy(void *context, uint32_t copy, uint8_t *sector)
{
    const struct update *u = context;
    return u->medium->read(u->medium->context, copy_sector(u, copy), sector);
}

static int write_copy(void *context, uint32_t copy, const uint8_t *sector)
{
    const struct update *u = context;
    int error = u->medium->write(u->medium->context, copy_sector(u, copy), sector);
    return error ? error : u->medium->sync(u->medium->context);
}

/* ---- sectors of the spare slot, one of them in memory ---- */

static int store(struct update *u)
{
    uint64_t sector = u->medium->start[u->spare] + u->sector;
    if (!u->dirty)
        return 0;
    u->dirty = 0;
    return u->medium->write(u->medium->context, sector, u->bytes);
}

static int fetch(struct update *u, uint64_t sector)
{
    if (u->sector == sector)
        return 0;
    int error = store(u);
    u->sector = NO_SECTOR;
    if (!error)
        error = u->medium->read(u->medium->context, u->medium->start[u->spare] + sector, u->bytes);
    if (!error)
        u->sector = sector;
    return error;
}

/* What of `size` bytes from an offset on lies in its sector. */
static uint32_t share(uint64_t offset, uint32_t size)
{
    uint32_t left = SELECTOR_SECTOR_BYTES - (uint32_t)(offset % SELECTOR_SECTOR_BYTES);
    return size < left ? size : left;
}

/* ---- updates ---- */

int update_open(struct update *u, const struct update_medium *medium, uint32_t running)
{
    const struct selector_medium copies = {u, read_copy, write_copy};
    struct selector s;

    memset(u, 0, sizeof *u);
    u->medium = medium;
    u->running = running;
    u->sector = NO_SECTOR;
    int error = selector_open(&s, &copies);
    u->spare = selector_spare(&s, running);
    return error;
}

uint64_t update_room(const struct update *u)
{
    const uint64_t *sectors = u->medium->sectors;
    return (sectors[0] < sectors[1] ? sectors[0] : sectors[1]) * SELECTOR_SECTOR_BYTES;
}

static int begin(struct update *u)
{
    const struct selector_medium copies = {u, read_copy, write_copy};
    struct selector s;

    if (u->begun)
        return 0;
    int error = selector_open(&s, &copies);
    if (!error)
        error = selector_begin(&s, u->spare);
    if (error)
        return error;
    if (u->running == u->spare)
        u->running = SELECTOR_NO_SLOT;
    u->begun = 1;
    return 0;
}

int update_read(struct update *u, uint64_t offset, uint8_t *to, uint32_t size)
{
    int error = 0;
    for (uint32_t n; !error && size; offset += n, to += n, size -= n) {
        n = share(offset, size);
        error = fetch(u, offset / SELECTOR_SECTOR_BYTES);
        if (!error)
            memcpy(to, u->bytes + offset % SELECTOR_SECTOR_BYTES, n);
    }
    return error;
}

int update_write(struct update *u, uint64_t offset, const uint8_t *from, uint32_t size)
{
    int error = begin(u);
    for (uint32_t n; !error && size; offset += n, from += n, size -= n) {
        n = share(offset, size);
        error = fetch(u, offset / SELECTOR_SECTOR_BYTES);
        if (error)
            break;
        memcpy(u->bytes + offset % SELECTOR_SECTOR_BYTES, from, n);
        u->dirty = 1;
    }
    return error;
}

int update_finish(struct update *u, uint64_t bytes)
{
    const struct selector_medium copies = {u, read_copy, write_copy};
    struct selector s;

    int error = store(u);
    if (!error)
        error = selector_open(&s, &copies);
    if (!error)
        error = selector_finish(&s, u->spare, bytes);
    if (!error)
        u->begun = 0;
    return error;
}

int update_confirm(struct update *u)
{
    const struct selector_medium copies = {u, read_copy, write_copy};
    struct selector s;

    int error = selector_open(&s, &copies);
    if (!error)
        error = selector_confirm(&s, u->running);
    if (!error && !u->begun && selector_spare(&s, u->running) != u->spare) {
        u->spare = selector_spare(&s, u->running);
        u->sector = NO_SECTOR;
    }
    return error;
}
