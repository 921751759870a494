/* SPDX-License-Identifier: Apache-2.0 */
/* Header, section table and hash root of an image. */
#include <string.h>

#include "common/checked.h"
#include "common/load.h"
#include "image/hash.h"
#include "image/image.h"
#include "gen/errors.h"
#include "trust/trust.h"

/* Words between bytes, for a program has a tail an op. */
/* Not copied into its callers, where it would be unrolled each time: speed matters to none. */
__attribute__((noinline)) int image_is_zero(const uint8_t *p, uint64_t from, uint64_t to)
{
    uint8_t bits = 0;

    for (; from < to && (uintptr_t)(p + from) % 8; from++)
        bits |= p[from];
    for (; from < to && to - from >= 8; from += 8)
        if (load_u64(p + from))
            return 0;
    for (; from < to; from++)
        bits |= p[from];
    return bits == 0;
}

/* What only a newer writer sets. */
static int check_unused(const uint8_t *p)
{
    uint32_t end = IMAGE_SECTION_TABLE_OFFSET + image_header_section_count(p) * IMAGE_SECTION_SIZE;

    if (image_header_flags(p) || !image_is_zero(p, IMAGE_HEADER_SIZE, IMAGE_SECTION_TABLE_OFFSET) ||
        !image_is_zero(p, end, IMAGE_HEADER_DIGEST_OFFSET))
        return E_IMAGE_NEW;
    return 0;
}

static int check_header(const uint8_t *p, uint64_t limit)
{
    static const uint8_t magic[] = IMAGE_MAGIC_BYTES;

    if (limit < sizeof magic || memcmp(p, magic, sizeof magic))
        return E_IMAGE_ABSENT;
    if (limit < IMAGE_HEADER_BYTES)
        return E_IMAGE_TRUNCATED;
    /* Before the digest, for another major version may keep it elsewhere, and another hash has
     * another one. */
    if (image_header_version_major(p) != IMAGE_VERSION_MAJOR)
        return E_IMAGE_VERSION;
    if (!hash_is_known(p))
        return E_IMAGE_NEW;
    if (!hash_header_is_good(p))
        return E_IMAGE_HEADER;
    if (image_header_file_size(p) > limit)
        return E_IMAGE_TRUNCATED;
    if (image_header_section_count(p) > IMAGE_MAX_SECTIONS)
        return E_IMAGE_HEADER;
    return check_unused(p);
}

/* One entry of the table: known or optional, no id twice, exactly where the section before it ends,
 * and nothing but a signature behind the hashes. */
static int add_section(struct image *image, const uint8_t *entry, uint64_t *end, uint64_t *detail)
{
    uint32_t id = image_section_id(entry), flags = image_section_flags(entry);
    uint64_t offset = image_section_offset(entry), size = image_section_size(entry);

    *detail = id;
    if ((flags & ~IMAGE_SECTION_FLAG_REQUIRED) ||
        !image_is_zero(entry, IMAGE_SECTION_RESERVED_OFFSET, IMAGE_SECTION_SIZE))
        return E_IMAGE_NEW;
    if (offset != checked_align(*end, IMAGE_SECTION_ALIGN) ||
        !checked_range(offset, size, image->size))
        return E_IMAGE_SECTION;
    *end = offset + size;
    if (image->parts[IMAGE_SECTION_ID_HASHES].data && id != IMAGE_SECTION_ID_SIGNATURE)
        return E_IMAGE_SECTION;
    if (id == 0 || id > IMAGE_SECTION_ID_TOKENS)
        return flags & IMAGE_SECTION_FLAG_REQUIRED ? E_IMAGE_NEW : 0;
    if (image->parts[id].data)
        return E_IMAGE_SECTION;
    image->parts[id].data = image->base + offset;
    image->parts[id].size = size;
    return 0;
}

static int check_required(const struct image *image, uint64_t *detail)
{
    static const uint8_t required[] = {IMAGE_SECTION_ID_PLAN,    IMAGE_SECTION_ID_TENSORS,
                                       IMAGE_SECTION_ID_STATES,  IMAGE_SECTION_ID_PROGRAM,
                                       IMAGE_SECTION_ID_WEIGHTS, IMAGE_SECTION_ID_HASHES};

    for (uint32_t i = 0; i < sizeof required; i++) {
        *detail = required[i];
        if (!image->parts[required[i]].data)
            return E_IMAGE_SECTION;
    }
    return 0;
}

/* The leaves cover every section but HASHES and SIGNATURE, and their digests hash to the root. */
static int check_hashes(const struct image *image, uint64_t *detail)
{
    const struct image_part *hashes = &image->parts[IMAGE_SECTION_ID_HASHES];
    uint64_t end = (uint64_t)(hashes->data - image->base);

    *detail = IMAGE_SECTION_ID_HASHES;
    if (checked_add(IMAGE_HEADER_BYTES, image->payload_size) != end)
        return E_IMAGE_SECTION;
    if (hashes->size != hash_leaves(image) * IMAGE_HASH_BYTES)
        return E_IMAGE_SECTION;
    return hash_table_is_good(image) ? 0 : E_IMAGE_HASH;
}

/* What stands behind the leaves' digests is vouched for by nothing: there is a signature, whose
 * bytes speak for themselves, and zeros. The gaps are shorter than a page each. */
static int check_tail(const struct image *image, uint64_t *detail)
{
    const struct image_part *hashes = &image->parts[IMAGE_SECTION_ID_HASHES];
    const struct image_part *signature = &image->parts[IMAGE_SECTION_ID_SIGNATURE];
    uint64_t at = (uint64_t)(hashes->data - image->base) + hashes->size;

    *detail = IMAGE_SECTION_ID_HASHES;
    if (signature->data > hashes->data) {
        uint64_t start = (uint64_t)(signature->data - image->base);
        if (signature->size != IMAGE_SIGNATURE_SIZE || !image_is_zero(image->base, at, start))
            return E_IMAGE_SECTION;
        at = start + signature->size;
    }
    return image_is_zero(image->base, at, image->size) ? 0 : E_IMAGE_SECTION;
}

int image_open(struct image *image, const uint8_t *base, uint64_t limit, uint64_t *detail)
{
    uint64_t end = IMAGE_HEADER_BYTES;
    int error = check_header(base, limit);

    *detail = 0;
    if (error)
        return error;
    memset(image, 0, sizeof *image);
    image->base = base;
    image->size = image_header_file_size(base);
    image->payload_size = image_header_payload_size(base);
    for (uint32_t i = 0; i < image_header_section_count(base); i++) {
        const uint8_t *entry = base + IMAGE_SECTION_TABLE_OFFSET + i * IMAGE_SECTION_SIZE;
        error = add_section(image, entry, &end, detail);
        if (error)
            return error;
    }
    *detail = 0;
    if (image->size != checked_align(end, IMAGE_SECTION_ALIGN))
        return E_IMAGE_HEADER;
    error = check_required(image, detail);
    if (!error)
        error = check_hashes(image, detail);
#if TRUST_REQUIRED
    const struct image_part *signature = &image->parts[IMAGE_SECTION_ID_SIGNATURE];
    if (!error)
        error = trust_check(base, signature->data, signature->size, detail);
#endif
    return error ? error : check_tail(image, detail);
}
