/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FLASH_HANDOFF_H
#define FLASH_HANDOFF_H

/* What U-Boot's applet tells the firmware: from which slot the image in memory was read,
 * and where the selector lies. It stands in the last bytes of the firmware's region, where neither
 * booti nor the firmware puts anything. */

#include <stdint.h>

#define HANDOFF_BYTES 20u

struct handoff {
    uint32_t slot;
    uint32_t selector; /* first sector of its partition */
};

/* slot: SELECTOR_NO_SLOT for none. */
void handoff_write(uint8_t *to, const struct handoff *handoff);

/* Whether there is one that names a slot. Whatever there is, it is gone afterwards: a restart
 * without U-Boot must not find it again. */
int handoff_take(uint8_t *from, struct handoff *handoff);

#endif
