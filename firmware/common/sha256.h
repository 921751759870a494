/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SHA256_H
#define COMMON_SHA256_H

/* SHA-256 (FIPS 180-4) of one whole buffer. */

#include <stdint.h>

#define SHA256_BYTES 32u

void sha256_digest(const uint8_t *data, uint64_t size, uint8_t digest[SHA256_BYTES]);

#endif
