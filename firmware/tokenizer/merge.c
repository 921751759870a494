/* SPDX-License-Identifier: Apache-2.0 */
/* Byte pair encoding of one piece: the merge of the lowest rank first, of those the leftmost. */
#include <string.h>

#include "tokenizer/tokenizer.h"
#include "common/utf8.h"
#include "gen/errors.h"

static void find_merge(const struct tokenizer *t, struct tokenizer_symbol *symbol, uint32_t right)
{
    uint64_t pair = (uint64_t)symbol->id << 32 | right;
    uint32_t low = 0, high = t->merge_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const uint8_t *merge = t->merges + middle * IMAGE_BPE_MERGE_SIZE;
        uint64_t found = (uint64_t)image_bpe_merge_left(merge) << 32 | image_bpe_merge_right(merge);
        if (found == pair) {
            symbol->rank = image_bpe_merge_rank(merge);
            symbol->merged = image_bpe_merge_merged(merge);
            return;
        }
        if (found < pair)
            low = middle + 1;
        else
            high = middle;
    }
    symbol->rank = IMAGE_NO_TENSOR;
}

/* The token whose text is exactly these bytes, or IMAGE_NO_TENSOR. */
static uint32_t find_text(const struct tokenizer *t, const uint8_t *at, uint32_t size)
{
    struct tokenizer_text text = {at, size};
    uint32_t low = 0, high = t->sorted_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2, id = le_u32(t->sorted + 4u * middle);
        int order = tokenizer_compare(tokenizer_bytes(t, id), text);
        if (!order)
            return id;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return IMAGE_NO_TENSOR;
}

static uint32_t put_symbol(struct tokenizer *t, uint32_t count, uint32_t id)
{
    if (id == IMAGE_NO_TENSOR)
        return count;
    t->symbols[count].id = id;
    return count + 1;
}

static uint32_t put_bytes(struct tokenizer *t, uint32_t count, const uint8_t *at, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        count = put_symbol(t, count, le_u32(t->byte_ids + 4u * at[i]));
    return count;
}

/* A character's own token, else its bytes'. */
static uint32_t put_characters(struct tokenizer *t, uint32_t count, const uint8_t *at,
                               uint32_t size)
{
    static const uint8_t block[] = {0xe2, 0x96, 0x81}; /* U+2581, SentencePiece's space */
    while (size) {
        uint32_t whole = utf8_size(at[0]);
        if (!whole || utf8_valid(at, size) < whole)
            whole = 1;
        int is_block = whole == sizeof block && !memcmp(at, block, sizeof block);
        uint32_t id = is_block ? find_text(t, (const uint8_t *)" ", 1) : find_text(t, at, whole);
        if (id == IMAGE_NO_TENSOR)
            count = put_bytes(t, count, at, whole);
        else
            count = put_symbol(t, count, id);
        at += whole;
        size -= whole;
    }
    return count;
}

static uint32_t put_piece(struct tokenizer *t, const uint8_t *piece, uint32_t size)
{
    uint32_t count = 0, whole = IMAGE_NO_TENSOR;
    if (t->flags & IMAGE_BPE_FLAG_WHOLE_WORDS)
        whole = find_text(t, piece, size);
    if (whole != IMAGE_NO_TENSOR)
        return put_symbol(t, 0, whole);
    if (!(t->flags & IMAGE_BPE_FLAG_CHARACTERS))
        return put_bytes(t, 0, piece, size);
    if (t->flags & IMAGE_BPE_FLAG_PREPEND_SPACE)
        count = put_characters(t, 0, (const uint8_t *)" ", 1);
    return put_characters(t, count, piece, size);
}

static uint32_t merge_all(struct tokenizer *t, uint32_t count)
{
    struct tokenizer_symbol *symbols = t->symbols;
    for (uint32_t i = 0; i + 1 < count; i++)
        find_merge(t, &symbols[i], symbols[i + 1].id);
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < count; i++)
            if (symbols[i].rank < symbols[best].rank)
                best = i;
        if (count < 2 || symbols[best].rank == IMAGE_NO_TENSOR)
            return count;
        symbols[best].id = symbols[best].merged;
        count--;
        memmove(&symbols[best + 1], &symbols[best + 2], (count - best - 1) * sizeof symbols[0]);
        if (best + 1 < count)
            find_merge(t, &symbols[best], symbols[best + 1].id);
        if (best)
            find_merge(t, &symbols[best - 1], symbols[best].id);
    }
}

int tokenizer_merge(struct tokenizer *tokenizer, const uint8_t *piece, uint32_t size, uint32_t *ids,
                    uint32_t capacity)
{
    uint32_t count = merge_all(tokenizer, put_piece(tokenizer, piece, size));
    if (count > capacity)
        return E_PENDING;
    for (uint32_t i = 0; i < count; i++)
        ids[i] = tokenizer->symbols[i].id;
    return (int)count;
}
