/* SPDX-License-Identifier: Apache-2.0 */
/* Byte pair encoding of one piece: the merge of the lowest rank first, of those the leftmost. */
#include <string.h>

#include "tokenizer/parts.h"
#include "tokenizer/characters.h"

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

uint32_t tokenizer_find_text(const struct tokenizer *t, const uint8_t *at, uint32_t size)
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
    t->work.symbols[count].id = id;
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
        uint32_t id = is_block ? tokenizer_find_text(t, (const uint8_t *)" ", 1)
                               : tokenizer_find_text(t, at, whole);
        if (id == IMAGE_NO_TENSOR)
            count = put_bytes(t, count, at, whole);
        else
            count = put_symbol(t, count, id);
        at += whole;
        size -= whole;
    }
    return count;
}

/* The same of TOKENS: spaces are what they are, and what has no bytes either is unknown. */
static uint32_t put_known(struct tokenizer *t, const uint8_t *at, uint32_t size)
{
    uint32_t count = 0, whole;
    for (int unknown = 0; size; at += whole, size -= whole) {
        whole = character_at(at, size).size;
        uint32_t id = tokenizer_find_text(t, at, whole);
        int fused = unknown && t->flags & IMAGE_TOKENS_FLAG_FUSE_UNKNOWN;
        unknown = 0;
        if (id != IMAGE_NO_TENSOR) {
            count = put_symbol(t, count, id);
        } else if (t->flags & IMAGE_TOKENS_FLAG_FALLBACK) {
            count = put_bytes(t, count, at, whole);
        } else {
            count = fused ? count : put_symbol(t, count, t->unknown);
            unknown = 1;
        }
    }
    return count;
}

static uint32_t put_piece(struct tokenizer *t, const uint8_t *piece, uint32_t size)
{
    uint32_t count = 0, whole = IMAGE_NO_TENSOR;
    if (t->flags & IMAGE_BPE_FLAG_WHOLE_WORDS)
        whole = tokenizer_find_text(t, piece, size);
    if (whole != IMAGE_NO_TENSOR)
        return put_symbol(t, 0, whole);
    if (!(t->flags & IMAGE_BPE_FLAG_CHARACTERS))
        return put_bytes(t, 0, piece, size);
    if (t->section == IMAGE_SECTION_ID_TOKENS)
        return put_known(t, piece, size);
    if (t->flags & IMAGE_BPE_FLAG_PREPEND_SPACE)
        count = put_characters(t, 0, (const uint8_t *)" ", 1);
    return put_characters(t, count, piece, size);
}

static uint32_t merge_all(struct tokenizer *t, uint32_t count)
{
    struct tokenizer_symbol *symbols = t->work.symbols;
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

int tokenizer_merge(struct tokenizer *tokenizer, struct tokenizer_text piece,
                    struct tokenizer_output *out)
{
    uint32_t count = merge_all(tokenizer, put_piece(tokenizer, piece.at, piece.size));
    int error = 0;
    for (uint32_t i = 0; i < count && !error; i++)
        error = tokenizer_put_id(out, tokenizer->work.symbols[i].id);
    return error;
}
