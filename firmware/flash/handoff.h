/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FLASH_HANDOFF_H
#define FLASH_HANDOFF_H

/* What U-Boot's applet tells the firmware: from which slot the image in memory was read,
 * and where selector and slots lie. It stands in the last bytes of the firmware's region, where
 * neither booti nor the firmware puts anything. */

#include <stdint.h>

#include "gen/selector.h"

#define HANDOFF_BYTES 36u

struct handoff {
    uint32_t slot;     /* SELECTOR_NO_SLOT where no image was good */
    uint32_t selector; /* first sector of its partition */
    uint32_t start[SELECTOR_SLOTS], sectors[SELECTOR_SLOTS]; /* of the slots' partitions */
};

void handoff_write(uint8_t *to, const struct handoff *handoff);

/* Whether there is one. Whatever there is, it is gone afterwards: a restart
 * without U-Boot must not find it again. */
int handoff_take(uint8_t *from, struct handoff *handoff);

#endif
