/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRUST_TRUST_H
#define TRUST_TRUST_H

/* Whose images the firmware accepts. Built with key=, it refuses every image that this key has not
 * signed, and those older than lowest_version=. Built without, it asks for no signature and no line
 * of this is in it.
 */

#include <stdint.h>

#ifndef TRUST_REQUIRED
#define TRUST_REQUIRED 0
#endif

/* Whether `section` (IMAGE_SIGNATURE_SIZE bytes, or NULL where the image has none) signs the header
 * page, whose own digests vouch for every other byte. detail receives the image's version where
 * that is too low. Returns 0, E_IMAGE_UNSIGNED, E_IMAGE_KEY, E_IMAGE_SIGNATURE or E_IMAGE_OLD. */
int trust_check(const uint8_t *header, const uint8_t *section, uint64_t size, uint64_t *detail);

#endif
