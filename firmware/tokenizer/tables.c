/* SPDX-License-Identifier: Apache-2.0 */
/* The BPE section checked, and a text cut at the tokens that are found before anything else. */
#include "tokenizer/tokenizer.h"

#include <stddef.h>
#include <string.h>

#include "common/checked.h"
#include "gen/errors.h"

struct cursor {
    const uint8_t *at;
    uint64_t left;
    int error;
};

/* The next part of the section: `count` records of `size` bytes. */
static const uint8_t *take(struct cursor *cursor, uint64_t count, uint64_t size)
{
    const uint8_t *part = cursor->at;
    uint64_t bytes = checked_mul(count, size);
    if (bytes > cursor->left) {
        cursor->error = 1;
        return part;
    }
    cursor->at += bytes;
    cursor->left -= bytes;
    return part;
}

static struct tokenizer_text take_text(struct cursor *cursor, uint32_t size)
{
    return (struct tokenizer_text){take(cursor, size, 1), size};
}

static int read_parts(const struct image_part *part, struct tokenizer *t, uint32_t *text_bytes)
{
    struct cursor cursor = {part->data, part->size, 0};
    const uint8_t *p = take(&cursor, 1, IMAGE_BPE_SIZE);
    if (cursor.error)
        return 0;
    t->split = image_bpe_split(p);
    t->flags = image_bpe_flags(p);
    t->vocab = image_bpe_vocab(p);
    t->merge_count = image_bpe_merge_count(p);
    t->sorted_count = image_bpe_sorted_count(p);
    t->added_count = image_bpe_added_count(p);
    t->end_id = image_bpe_end_id(p);
    *text_bytes = image_bpe_text_bytes(p);
    t->byte_ids = take(&cursor, IMAGE_BPE_BYTES, 4);
    t->offsets = take(&cursor, (uint64_t)t->vocab + 1, 4);
    t->merges = take(&cursor, t->merge_count, IMAGE_BPE_MERGE_SIZE);
    t->sorted = take(&cursor, t->sorted_count, 4);
    t->added = take(&cursor, t->added_count, IMAGE_BPE_ADDED_SIZE);
    t->text = take(&cursor, *text_bytes, 1);
    t->first = take_text(&cursor, image_bpe_first_bytes(p));
    t->end = take_text(&cursor, image_bpe_end_bytes(p));
    t->next = take_text(&cursor, image_bpe_next_bytes(p));
    t->suffix = take_text(&cursor, image_bpe_suffix_bytes(p));
    return !cursor.error && !cursor.left;
}

static int check_texts(const struct tokenizer *t, uint32_t text_bytes)
{
    uint32_t before = 0;
    for (uint32_t i = 0; i <= t->vocab; i++) {
        uint32_t offset = le_u32(t->offsets + 4u * i);
        if (offset < before || offset > text_bytes || offset - before > LIMIT_TOKEN_BYTES)
            return 0;
        before = offset;
    }
    return le_u32(t->offsets) == 0 && before == text_bytes;
}

static uint64_t merge_pair(const struct tokenizer *t, uint32_t i)
{
    const uint8_t *merge = t->merges + i * IMAGE_BPE_MERGE_SIZE;
    return (uint64_t)image_bpe_merge_left(merge) << 32 | image_bpe_merge_right(merge);
}

static int check_merges(const struct tokenizer *t)
{
    for (uint32_t i = 0; i < t->merge_count; i++) {
        const uint8_t *merge = t->merges + i * IMAGE_BPE_MERGE_SIZE;
        if (image_bpe_merge_left(merge) >= t->vocab || image_bpe_merge_right(merge) >= t->vocab ||
            image_bpe_merge_merged(merge) >= t->vocab)
            return 0;
        if (image_bpe_merge_rank(merge) == IMAGE_NO_TENSOR)
            return 0;
        if (i && merge_pair(t, i - 1) >= merge_pair(t, i))
            return 0;
    }
    return 1;
}

static int check_sorted(const struct tokenizer *t)
{
    struct tokenizer_text before = {NULL, 0};
    for (uint32_t i = 0; i < t->sorted_count; i++) {
        uint32_t id = le_u32(t->sorted + 4u * i);
        if (id >= t->vocab)
            return 0;
        struct tokenizer_text text = tokenizer_bytes(t, id);
        if (tokenizer_compare(before, text) >= 0)
            return 0;
        before = text;
    }
    return 1;
}

static int check_ids(const struct tokenizer *t)
{
    for (uint32_t i = 0; i < IMAGE_BPE_BYTES; i++) {
        uint32_t id = le_u32(t->byte_ids + 4u * i);
        if (id >= t->vocab && id != IMAGE_NO_TENSOR)
            return 0;
    }
    for (uint32_t i = 0; i < t->added_count; i++) {
        const uint8_t *added = t->added + i * IMAGE_BPE_ADDED_SIZE;
        uint32_t id = image_bpe_added_id(added);
        if (id >= t->vocab || image_bpe_added_flags(added) & ~IMAGE_ADDED_FLAG_SPECIAL)
            return 0;
        /* An empty one would be found again and again at the same place. */
        uint32_t size = tokenizer_bytes(t, id).size;
        if (!size || size > LIMIT_ADDED_BYTES)
            return 0;
    }
    return t->end_id < t->vocab || t->end_id == IMAGE_NO_TENSOR;
}

static int check_numbers(const struct tokenizer *t, uint32_t limit)
{
    const uint32_t flags = IMAGE_BPE_FLAG_WHOLE_WORDS | IMAGE_BPE_FLAG_CHARACTERS |
                           IMAGE_BPE_FLAG_PREPEND_SPACE | IMAGE_BPE_FLAG_CHAT |
                           IMAGE_BPE_FLAG_TURNS;
    uint64_t roles = (uint64_t)t->first.size + t->end.size + t->next.size + t->suffix.size;
    if (t->merge_count > LIMIT_MERGES || t->sorted_count > t->vocab || t->added_count > LIMIT_ADDED)
        return 0;
    return t->vocab && t->vocab <= limit && t->split <= IMAGE_SPLIT_QWEN2 && !(t->flags & ~flags) &&
           roles <= IMAGE_MAX_ROLE_BYTES;
}

int tokenizer_read(const struct image *image, uint32_t limit, struct tokenizer *tokenizer)
{
    const struct image_part *part = &image->parts[IMAGE_SECTION_ID_BPE];
    uint32_t text_bytes;
    memset(tokenizer, 0, sizeof *tokenizer);
    if (!part->data)
        return 0;
    if (!read_parts(part, tokenizer, &text_bytes) || !check_numbers(tokenizer, limit) ||
        text_bytes > LIMIT_TEXT_BYTES)
        return E_IMAGE_BPE;
    /* In this order: what comes later reads texts. */
    if (!check_texts(tokenizer, text_bytes) || !check_merges(tokenizer) || !check_ids(tokenizer) ||
        !check_sorted(tokenizer))
        return E_IMAGE_BPE;
    tokenizer_sort_added(tokenizer);
    return 0;
}

struct tokenizer_text tokenizer_bytes(const struct tokenizer *tokenizer, uint32_t id)
{
    uint32_t start = le_u32(tokenizer->offsets + 4u * id);
    uint32_t end = le_u32(tokenizer->offsets + 4u * id + 4u);
    return (struct tokenizer_text){tokenizer->text + start, end - start};
}

int tokenizer_compare(struct tokenizer_text a, struct tokenizer_text b)
{
    uint32_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.at, b.at, shorter) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

struct tokenizer_text tokenizer_decode(const struct tokenizer *tokenizer, uint32_t id)
{
    if (id >= tokenizer->vocab || tokenizer_is_special(tokenizer, id))
        return (struct tokenizer_text){tokenizer->text, 0};
    return tokenizer_bytes(tokenizer, id);
}

struct output {
    uint32_t *ids;
    uint32_t count;
    uint32_t capacity;
};

static int put_id(struct output *out, uint32_t id)
{
    if (out->count == out->capacity)
        return E_PENDING;
    out->ids[out->count++] = id;
    return 0;
}

static int encode_between(struct tokenizer *t, const uint8_t *text, uint32_t size,
                          struct output *out)
{
    while (size) {
        uint32_t piece = tokenizer_split(t->split, text, size);
        int got =
            tokenizer_merge(t, text, piece, out->ids + out->count, out->capacity - out->count);
        if (got < 0)
            return got;
        out->count += (uint32_t)got;
        text += piece;
        size -= piece;
    }
    return 0;
}

int tokenizer_encode(struct tokenizer *tokenizer, const uint8_t *text, uint32_t size, uint32_t *ids,
                     uint32_t capacity)
{
    struct output out = {ids, 0, capacity};
    uint32_t start = 0, at = 0;
    int error = size > TOKENIZER_TEXT_BYTES ? E_PENDING : 0;
    while (!error && at < size) {
        uint32_t id = tokenizer_find_added(tokenizer, text + at, size - at);
        if (id == IMAGE_NO_TENSOR) {
            at++;
            continue;
        }
        error = encode_between(tokenizer, text + start, at - start, &out);
        error = error ? error : put_id(&out, id);
        at += tokenizer_bytes(tokenizer, id).size;
        start = at;
    }
    error = error ? error : encode_between(tokenizer, text + start, size - start, &out);
    return error ? error : (int)out.count;
}
