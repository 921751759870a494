/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crc32c.h"

/* By nibbles: 64 bytes of table instead of 1 KiB, which would push kernels out of a small cache. */
static const uint32_t nibbles[16] = {
    0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u,
    0x61c69362u, 0x7198540du, 0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u,
    0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u,
};

/*@ requires \valid_read(bytes + (0 .. size - 1));
    assigns \nothing;
*/
uint32_t crc32c_extend(uint32_t crc, const uint8_t *bytes, uint32_t size)
{
    crc = ~crc;
    /*@ loop invariant 0 <= i <= size;
        loop assigns i, crc;
        loop variant size - i;
    */
    for (uint32_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = nibbles[crc & 15u] ^ crc >> 4;
        crc = nibbles[crc & 15u] ^ crc >> 4;
    }
    return ~crc;
}
