/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FLASH_SELECTOR_H
#define FLASH_SELECTOR_H

/* Which of two slots a board boots, and what of that survives a power cut.
 *
 * The record lies on the medium in two copies, each in a sector of its own with number and CRC. The
 * newer valid one counts; a change is written over the older one, so a cut leaves one whole record:
 * the old one or the new one. A new model is tried a few times; it stays when it has given a good
 * answer, else the old one boots again. Only boots of a trial are counted and written: a board that
 * is switched on and off in a hurry wears and changes nothing. Models are never copied or swapped.
 *
 * The same module is in the firmware, in U-Boot's applet and under the power-cut simulator.
 */

#include <stdint.h>

#include "gen/selector.h"

/* Sectors of SELECTOR_SECTOR_BYTES, by the number of the copy. Both return 0 or a negative error;
 * write() returns when the sector is on the medium, and is atomic or torn, never elsewhere. */
struct selector_medium {
    void *context;
    int (*read)(void *context, uint32_t copy, uint8_t *sector);
    int (*write)(void *context, uint32_t copy, const uint8_t *sector);
};

/* What counts on the medium. All fields are the module's own. */
struct selector {
    const struct selector_medium *medium;
    uint32_t copy; /* that it was read from */
    uint32_t sequence;
    uint8_t active, trial, tries;
    uint64_t bytes[SELECTOR_SLOTS];
};

/* Reads both copies. A medium without a record gives slot 0 as active. Returns 0, or the medium's
 * error where neither copy could be read. */
int selector_open(struct selector *s, const struct selector_medium *medium);

/* The slot to load: the trial while it has boots left, one of which is written off first, else the
 * active one. `bad` has a bit for each slot whose image turned out wrong since the board was
 * switched on: a trial that is bad is given up, on the medium too; an active one is passed over.
 * Returns the slot, or -1 where both are bad. A medium that cannot be written never gives a trial,
 * for its boots could not be counted. */
int selector_choose(struct selector *s, uint32_t bad);

/* The slot has given a good answer: a trial becomes active. Returns 0 or the medium's error. */
int selector_confirm(struct selector *s, uint32_t slot);

/* The slot that an update may overwrite: never the one that runs, unless that is on trial and so
 * the other one is known to be good. running: SELECTOR_NO_SLOT for none. */
uint32_t selector_spare(const struct selector *s, uint32_t running);

/* An update of that slot begins: from now on nothing boots it. Returns 0 or the medium's error. */
int selector_begin(struct selector *s, uint32_t slot);

/* The image of so many bytes lies whole in that slot: it is tried at the next boots. Returns 0 or
 * the medium's error. */
int selector_finish(struct selector *s, uint32_t slot, uint64_t bytes);

#endif
