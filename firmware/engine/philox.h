/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_PHILOX_H
#define ENGINE_PHILOX_H

/* Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (SC 2011): a random access function of key and counter, so that a
 * draw needs no state to keep or roll back. */

#include <stdint.h>

void philox_block(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

#endif
