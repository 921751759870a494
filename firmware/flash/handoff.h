/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FLASH_HANDOFF_H
#define FLASH_HANDOFF_H

/* What U-Boot's applet tells the firmware: from which slot the image in memory was read. It lies in
 * the last bytes of the firmware's region, where neither booti nor the firmware puts anything. */

#include <stdint.h>

#define HANDOFF_BYTES 16u

/* slot: SELECTOR_NO_SLOT for none. */
void handoff_write(uint8_t *to, uint32_t slot);

/* The slot, or -1 where there is no handoff or none was said. Whatever it is, it is gone
 * afterwards: a restart without U-Boot must not find it again. */
int handoff_take(uint8_t *from);

#endif
