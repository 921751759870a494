/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FLASH_SLOT_H
#define FLASH_SLOT_H

/* The slot that this firmware's image was read from, on a board whose medium the firmware can
 * write. */

#include <stdint.h>

/* Takes U-Boot's handoff and looks for the board's block device. Returns whether slot_confirm() can
 * do anything. */
int slot_open(uint8_t *handoff);

/* The image has given a good answer: a slot on trial stays. Returns 0 or E_IO. */
int slot_confirm(void);

#endif
