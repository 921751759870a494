/* SPDX-License-Identifier: Apache-2.0 */
/* What both sections have: checked, looked up, and a text cut at the tokens that are found before
 * anything else. */
#include "tokenizer/parts.h"

#include <stddef.h>
#include <string.h>

#include "common/checked.h"
#include "gen/errors.h"

const uint8_t *tokenizer_take(struct tokenizer_cursor *cursor, uint64_t count, uint64_t size)
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

struct tokenizer_text tokenizer_take_text(struct tokenizer_cursor *cursor, uint32_t size)
{
    return (struct tokenizer_text){tokenizer_take(cursor, size, 1), size};
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
    return t->end_id < t->vocab || t->end_id == IMAGE_NO_TENSOR;
}

int tokenizer_check_tables(const struct tokenizer *t, uint32_t text_bytes)
{
    uint64_t roles = (uint64_t)t->first.size + t->end.size + t->next.size + t->suffix.size;
    if (t->merge_count > LIMIT_MERGES || t->sorted_count > t->vocab ||
        t->added_count > LIMIT_ADDED || text_bytes > LIMIT_TEXT_BYTES || !t->vocab ||
        roles > IMAGE_MAX_ROLE_BYTES)
        return 0;
    /* In this order: what comes later reads texts. */
    return check_texts(t, text_bytes) && check_merges(t) && check_ids(t) && check_sorted(t);
}

int tokenizer_read(const struct image *image, uint32_t limit, struct tokenizer *tokenizer)
{
    const struct image_part *bpe = &image->parts[IMAGE_SECTION_ID_BPE];
    const struct image_part *tokens = &image->parts[IMAGE_SECTION_ID_TOKENS];
    int error = 0;
    memset(tokenizer, 0, sizeof *tokenizer);
    if (tokens->data)
        error = tokenizer_read_tokens(tokens, limit, tokenizer);
    else if (bpe->data)
        error = tokenizer_read_bpe(bpe, limit, tokenizer);
    if (!error)
        tokenizer_sort_added(tokenizer);
    return error;
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

/* A byte's own token stands in the tables as it is written. */
static const uint8_t *byte_of(const struct tokenizer *t, uint32_t id)
{
    static const uint8_t bytes[] = {
#define ROW(i)  i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7
#define ROWS(i) ROW(i), ROW(i + 8), ROW(i + 16), ROW(i + 24)
        ROWS(0), ROWS(32), ROWS(64), ROWS(96), ROWS(128), ROWS(160), ROWS(192), ROWS(224),
#undef ROWS
#undef ROW
    };
    for (uint32_t i = 0; t->flags & IMAGE_TOKENS_FLAG_FALLBACK && i < IMAGE_BPE_BYTES; i++)
        if (le_u32(t->byte_ids + 4u * i) == id)
            return bytes + i;
    return NULL;
}

struct tokenizer_text tokenizer_decode(const struct tokenizer *tokenizer, uint32_t id)
{
    if (id >= tokenizer->vocab || tokenizer_is_special(tokenizer, id))
        return (struct tokenizer_text){tokenizer->text, 0};
    const uint8_t *byte = byte_of(tokenizer, id);
    return byte ? (struct tokenizer_text){byte, 1} : tokenizer_bytes(tokenizer, id);
}

int tokenizer_put_id(struct tokenizer_output *out, uint32_t id)
{
    if (out->count == out->capacity)
        return E_PENDING;
    out->ids[out->count++] = id;
    return 0;
}

/* ---- BPE ---- */

static int encode_between(struct tokenizer *t, const uint8_t *text, uint32_t size,
                          struct tokenizer_output *out)
{
    int error = 0;
    while (size && !error) {
        struct tokenizer_text piece = {text, tokenizer_split(t->split, text, size)};
        error = tokenizer_merge(t, piece, out);
        text += piece.size;
        size -= piece.size;
    }
    return error;
}

static int encode_bpe(struct tokenizer *t, const uint8_t *text, uint32_t size,
                      struct tokenizer_output *out)
{
    uint32_t start = 0, at = 0;
    int error = 0;
    while (!error && at < size) {
        struct tokenizer_text left = {text + at, size - at};
        uint16_t place = tokenizer_find_added(t, t->raw, left);
        if (place == TOKENIZER_NONE) {
            at++;
            continue;
        }
        error = encode_between(t, text + start, at - start, out);
        error = error ? error : tokenizer_put_id(out, tokenizer_added_id(t, place));
        at += tokenizer_added_text(t, place).size;
        start = at;
    }
    return error ? error : encode_between(t, text + start, size - start, out);
}

int tokenizer_encode(struct tokenizer *tokenizer, const uint8_t *text, uint32_t size, uint32_t *ids,
                     uint32_t capacity)
{
    struct tokenizer_output out = {ids, 0, capacity};
    int error = E_PENDING;
    if (size <= TOKENIZER_TEXT_BYTES && tokenizer->section == IMAGE_SECTION_ID_TOKENS)
        error = tokenizer_encode_tokens(tokenizer, (struct tokenizer_text){text, size}, &out);
    else if (size <= TOKENIZER_TEXT_BYTES)
        error = encode_bpe(tokenizer, text, size, &out);
    return error ? error : (int)out.count;
}
