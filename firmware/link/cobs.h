/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_COBS_H
#define LINK_COBS_H

/* Consistent overhead byte stuffing: any bytes as bytes without 0, one more in 254 at most. */

#include <stdint.h>

/* Stuffs `size` bytes into `to`, which has room for size + size / 254 + 1 bytes and does not
 * overlap. Returns the stuffed size; no delimiter is written. */
uint32_t cobs_encode(const uint8_t *from, uint32_t size, uint8_t *to);

/* Undoes it in place. Returns the size, or E_FRAME where the bytes are no stuffed block. */
int cobs_decode(uint8_t *bytes, uint32_t size);

#endif
