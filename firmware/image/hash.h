/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_HASH_H
#define IMAGE_HASH_H

/* The tree of an image's hashes, by the hash that its header names. All return 1 or 0. */

#include "image/image.h"

/* Whether this firmware has the hash. */
int hash_is_known(const uint8_t *header);

/* Whether the digest at the end of the header page is that of the page before it. */
int hash_header_is_good(const uint8_t *header);

/* Whether the table of the leaves' digests has the header's root. */
int hash_table_is_good(const struct image *image);

/* Leaves of the payload; HASHES has a digest for each once image_open() returned 0. */
uint64_t hash_leaves(const struct image *image);

/* Whether a leaf's bytes have its digest. */
int hash_leaf_is_good(const struct image *image, uint64_t leaf);

#endif
