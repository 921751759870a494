/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BLAKE2B_H
#define COMMON_BLAKE2B_H

/* BLAKE2b (RFC 7693) with a digest of 32 bytes, of one whole buffer, alone or as a node of a tree.
 *
 * The tree is that of the BLAKE2 paper (section 2.10), which RFC 7693 leaves out: where a node
 * stands is part of what is hashed, so no leaf has the digest of another leaf, of an inner node or
 * of the same bytes alone. Python's hashlib.blake2b has the same parameters under other names.
 */

#include <stdint.h>

#define BLAKE2B_BYTES 32u

struct blake2b_node {
    uint32_t fanout;      /* children of an inner node; 0: any number */
    uint32_t depth;       /* levels of the tree */
    uint32_t leaf_bytes;  /* data of a leaf at most */
    uint32_t level;       /* 0: a leaf (node_depth) */
    uint32_t inner_bytes; /* of a digest that goes into another node */
    uint32_t last;        /* 1: the last one of its level (last_node) */
    uint64_t index;       /* within its level (node_offset) */
};

/* A buffer alone. */
#define BLAKE2B_ALONE ((struct blake2b_node){.fanout = 1, .depth = 1})

/* `data` lies at a multiple of 8 bytes. */
void blake2b_digest(const struct blake2b_node *node, const uint8_t *data, uint64_t size,
                    uint8_t digest[BLAKE2B_BYTES]);

#endif
