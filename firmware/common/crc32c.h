/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CRC32C_H
#define COMMON_CRC32C_H

/* CRC-32C (Castagnoli), reflected, as iSCSI, ext4 and google-crc32c have it. */

#include <stdint.h>

/* The checksum of `size` bytes that follow bytes whose checksum is `crc`; 0 to begin with. */
uint32_t crc32c_extend(uint32_t crc, const uint8_t *bytes, uint32_t size);

#endif
