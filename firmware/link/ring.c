/* SPDX-License-Identifier: Apache-2.0 */
#include "link/ring.h"

/*@ predicate ring_is_sound(struct ring *ring) =
        ring->first < RING_BYTES && ring->held <= RING_BYTES;
*/

/*@ requires \valid_read(ring) && ring_is_sound(ring);
    assigns \nothing;
    ensures \result == RING_BYTES - ring->held;
*/
uint32_t ring_room(const struct ring *ring)
{
    return RING_BYTES - ring->held;
}

/*@ requires \valid(ring) && ring_is_sound(ring);
    assigns ring->held, ring->bytes[(ring->first + ring->held) % RING_BYTES];
    ensures ring_is_sound(ring);
    ensures \result == (\old(ring->held) < RING_BYTES ? 1 : 0);
    ensures ring->held == \old(ring->held) + \result;
    ensures \result != 0 ==> ring->bytes[(ring->first + \old(ring->held)) % RING_BYTES] == byte;
*/
uint32_t ring_put(struct ring *ring, uint8_t byte)
{
    if (!ring_room(ring))
        return 0;
    ring->bytes[(ring->first + ring->held++) % RING_BYTES] = byte;
    return 1;
}

/*@ requires \valid(ring) && ring_is_sound(ring);
    requires \valid(to + (0 .. size - 1)) && \separated(ring, to + (0 .. size - 1));
    assigns ring->first, ring->held, to[0 .. size - 1];
    ensures ring_is_sound(ring);
    ensures \result == \min(size, \old(ring->held));
    ensures ring->held == \old(ring->held) - \result;
    ensures ring->first == (\old(ring->first) + \result) % RING_BYTES;
    ensures \forall integer i; 0 <= i < \result ==>
            to[i] == \old(ring->bytes[(ring->first + i) % RING_BYTES]);
*/
uint32_t ring_take(struct ring *ring, uint8_t *to, uint32_t size)
{
    uint32_t got = 0;
    /*@ loop invariant 0 <= got <= size && got <= ring->held;
        loop invariant ring->first == (\at(ring->first, Pre) + got) % RING_BYTES;
        loop invariant \forall integer i; 0 <= i < got ==>
                       to[i] == ring->bytes[(\at(ring->first, Pre) + i) % RING_BYTES];
        loop assigns got, ring->first, to[0 .. size - 1];
        loop variant size - got;
    */
    for (; got < size && got < ring->held; got++) {
        to[got] = ring->bytes[ring->first];
        ring->first = (ring->first + 1u) % RING_BYTES;
    }
    ring->held -= got;
    return got;
}
