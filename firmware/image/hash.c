/* SPDX-License-Identifier: Apache-2.0 */
#include "image/hash.h"

#include <string.h>

#include "common/blake2b.h"
#include "common/checked.h"
#include "common/sha256.h"

_Static_assert(SHA256_BYTES == IMAGE_HASH_BYTES && BLAKE2B_BYTES == IMAGE_HASH_BYTES,
               "all digests are as long");

/* A node of the image's tree; a table of leaves is its root, one level above them. */
static struct blake2b_node node_at(uint32_t level, uint64_t index, int last)
{
    return (struct blake2b_node){.depth = 2,
                                 .leaf_bytes = IMAGE_LEAF_BYTES,
                                 .inner_bytes = IMAGE_HASH_BYTES,
                                 .level = level,
                                 .index = index,
                                 .last = (uint32_t)last};
}

/* SHA-256 does not ask where the bytes stand. */
static int is_good(const uint8_t *header, const struct blake2b_node *node, const uint8_t *data,
                   uint64_t size, const uint8_t *wanted)
{
    uint8_t digest[IMAGE_HASH_BYTES];

    if (image_header_hash(header) == IMAGE_HASH_ID_SHA256)
        sha256_digest(data, size, digest);
    else
        blake2b_digest(node, data, size, digest);
    return memcmp(digest, wanted, sizeof digest) == 0;
}

int hash_is_known(const uint8_t *header)
{
    return image_header_hash(header) == IMAGE_HASH_ID_SHA256 ||
           image_header_hash(header) == IMAGE_HASH_ID_BLAKE2B;
}

int hash_header_is_good(const uint8_t *header)
{
    return is_good(header, &BLAKE2B_ALONE, header, IMAGE_HEADER_DIGEST_OFFSET,
                   header + IMAGE_HEADER_DIGEST_OFFSET);
}

int hash_table_is_good(const struct image *image)
{
    const struct image_part *table = &image->parts[IMAGE_SECTION_ID_HASHES];
    struct blake2b_node root = node_at(1, 0, 1);

    return is_good(image->base, &root, table->data, table->size,
                   image->base + IMAGE_HEADER_ROOT_OFFSET);
}

uint64_t hash_leaves(const struct image *image)
{
    return checked_ceil(image->payload_size, IMAGE_LEAF_BYTES);
}

int hash_leaf_is_good(const struct image *image, uint64_t leaf)
{
    uint64_t offset = leaf * IMAGE_LEAF_BYTES, rest = image->payload_size - offset;
    uint64_t size = rest < IMAGE_LEAF_BYTES ? rest : IMAGE_LEAF_BYTES;
    const uint8_t *digests = image->parts[IMAGE_SECTION_ID_HASHES].data;
    struct blake2b_node node = node_at(0, leaf, leaf + 1 == hash_leaves(image));

    return is_good(image->base, &node, image->base + IMAGE_HEADER_BYTES + offset, size,
                   digests + leaf * IMAGE_HASH_BYTES);
}
