/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FLASH_UPDATE_H
#define FLASH_UPDATE_H

/* An update by the firmware itself. The image goes to the slot that does not run, in pieces of any
 * size and order; once it has been read back and found good, the selector has the next boots try
 * it. Nothing is remembered beside what lies on the medium: after a cut, of the line or of the
 * power, the same pieces can be compared and the missing ones written.
 *
 * The same module is in the firmware and under the power-cut simulator.
 */

#include <stdint.h>

#include "flash/selector.h"
#include "common/port.h"

/* A disk of sectors of SELECTOR_SECTOR_BYTES. All operations return 0 or a negative error. */
struct update_medium {
    void *context;
    int (*read)(void *context, uint64_t sector, uint8_t *to);
    int (*write)(void *context, uint64_t sector, const uint8_t *from);
    int (*sync)(void *context); /* returns when all that was written stays without power */
    uint64_t selector;          /* first sector of the selector's partition */
    uint64_t start[SELECTOR_SLOTS], sectors[SELECTOR_SLOTS];
};

/* All fields are the module's own. */
struct update {
    const struct update_medium *medium;
    uint32_t running; /* slot that the image in memory was read from, or SELECTOR_NO_SLOT */
    uint32_t spare;   /* slot that is written */
    int begun;
    int dirty;
    uint64_t sector; /* of the spare slot, whose contents are in `bytes` */
    uint8_t bytes[SELECTOR_SECTOR_BYTES];
};

/* `running` as above. Returns 0 or the medium's error. */
int update_open(struct update *u, const struct update_medium *medium, uint32_t running);

/* Bytes that each slot can hold. */
uint64_t update_room(const struct update *u);

/* A piece of the spare slot, within update_room(). The first write since the slot was opened or
 * finished has nothing boot it any more. Return 0 or the medium's error. */
int update_read(struct update *u, uint64_t offset, uint8_t *to, uint32_t size);
int update_write(struct update *u, uint64_t offset, const uint8_t *from, uint32_t size);

/* The image of so many bytes was read back and is good: the next boots try it. Returns 0 or the
 * medium's error. */
int update_finish(struct update *u, uint64_t bytes);

/* What runs has given a good answer: a slot on trial stays, unless it has been overwritten since.
 * Returns 0 or the medium's error. */
int update_confirm(struct update *u);

/* All of this as a port offers it; there is one. NULL where the medium cannot be read. */
const struct port_slot *update_slot(const struct update_medium *medium, uint32_t running);

#endif
