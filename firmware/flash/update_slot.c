/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "flash/update.h"

static struct update update;
static struct port_slot slot;

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

const struct port_slot *update_slot(const struct update_medium *medium, uint32_t running)
{
    if (update_open(&update, medium, running))
        return NULL;
    slot =
        (struct port_slot){update_room(&update), slot_read, slot_write, slot_finish, slot_confirm};
    return &slot;
}
