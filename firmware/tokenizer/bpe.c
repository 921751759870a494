/* SPDX-License-Identifier: Apache-2.0 */
/* The section BPE: byte pair encodings of few kinds. */
#include "tokenizer/parts.h"

#include "gen/errors.h"

static int read_parts(const struct image_part *part, struct tokenizer *t, uint32_t *text_bytes)
{
    struct tokenizer_cursor cursor = {part->data, part->size, 0};
    const uint8_t *p = tokenizer_take(&cursor, 1, IMAGE_BPE_SIZE);
    if (cursor.error)
        return 0;
    t->split = image_bpe_split(p);
    t->flags = image_bpe_flags(p);
    t->vocab = image_bpe_vocab(p);
    t->merge_count = image_bpe_merge_count(p);
    t->sorted_count = image_bpe_sorted_count(p);
    t->added_count = image_bpe_added_count(p);
    t->added_size = IMAGE_BPE_ADDED_SIZE;
    t->end_id = image_bpe_end_id(p);
    *text_bytes = image_bpe_text_bytes(p);
    t->byte_ids = tokenizer_take(&cursor, IMAGE_BPE_BYTES, 4);
    t->offsets = tokenizer_take(&cursor, (uint64_t)t->vocab + 1, 4);
    t->merges = tokenizer_take(&cursor, t->merge_count, IMAGE_BPE_MERGE_SIZE);
    t->sorted = tokenizer_take(&cursor, t->sorted_count, 4);
    t->added = tokenizer_take(&cursor, t->added_count, IMAGE_BPE_ADDED_SIZE);
    t->text = tokenizer_take(&cursor, *text_bytes, 1);
    t->first = tokenizer_take_text(&cursor, image_bpe_first_bytes(p));
    t->end = tokenizer_take_text(&cursor, image_bpe_end_bytes(p));
    t->next = tokenizer_take_text(&cursor, image_bpe_next_bytes(p));
    t->suffix = tokenizer_take_text(&cursor, image_bpe_suffix_bytes(p));
    return !cursor.error && !cursor.left;
}

static int check_added(const struct tokenizer *t)
{
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
    return 1;
}

int tokenizer_read_bpe(const struct image_part *part, uint32_t limit, struct tokenizer *t)
{
    const uint32_t flags = IMAGE_BPE_FLAG_WHOLE_WORDS | IMAGE_BPE_FLAG_CHARACTERS |
                           IMAGE_BPE_FLAG_PREPEND_SPACE | IMAGE_BPE_FLAG_CHAT |
                           IMAGE_BPE_FLAG_TURNS;
    uint32_t text_bytes;
    t->section = IMAGE_SECTION_ID_BPE;
    if (!read_parts(part, t, &text_bytes) || t->vocab > limit || t->split > IMAGE_SPLIT_QWEN2 ||
        t->flags & ~flags)
        return E_IMAGE_BPE;
    return tokenizer_check_tables(t, text_bytes) && check_added(t) ? 0 : E_IMAGE_BPE;
}
