/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_RING_H
#define LINK_RING_H

/* Received bytes between whoever hears them and whoever reads them later, oldest first.
 *
 * The calls must not be within one another: a port masks the receive interrupt around ring_take().
 */

#include <stdint.h>

#define RING_BYTES 4096u

/* Zeroed to begin with. */
struct ring {
    uint8_t bytes[RING_BYTES];
    uint32_t first; /* where the oldest byte is */
    uint32_t held;
};

/* Bytes that it has room for. */
uint32_t ring_room(const struct ring *ring);

/* Puts one byte. Returns 1, or 0 where there is no room and nothing was changed. */
uint32_t ring_put(struct ring *ring, uint8_t byte);

/* Takes up to `size` of the oldest bytes. Returns how many there were. */
uint32_t ring_take(struct ring *ring, uint8_t *to, uint32_t size);

#endif
