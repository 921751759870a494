/* SPDX-License-Identifier: Apache-2.0 */
#include "link/ring.h"

uint32_t ring_room(const struct ring *ring)
{
    return RING_BYTES - (ring->in - ring->out);
}

uint32_t ring_put(struct ring *ring, uint8_t byte)
{
    if (!ring_room(ring))
        return 0;
    ring->bytes[ring->in++ % RING_BYTES] = byte;
    return 1;
}

uint32_t ring_take(struct ring *ring, uint8_t *to, uint32_t size)
{
    uint32_t held = ring->in - ring->out, got = 0;
    for (; got < size && got < held; got++)
        to[got] = ring->bytes[ring->out++ % RING_BYTES];
    return got;
}
