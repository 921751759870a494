/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FLASH_SLOT_H
#define FLASH_SLOT_H

/* The slots of the medium that this firmware was booted from, on a board whose medium the firmware
 * can write. */

#include <stdint.h>

#include "common/port.h"

/* Takes U-Boot's handoff and looks for the board's block device. Returns what can be done with the
 * slots, or NULL. */
const struct port_slot *slot_open(uint8_t *handoff);

#endif
