/* SPDX-License-Identifier: Apache-2.0 */
/* The section TOKENS: steps that normalize and cut a text, and a model that makes tokens of its
 * pieces. */
#include "tokenizer/parts.h"

#include <string.h>

#include "common/checked.h"
#include "gen/errors.h"
#include "tokenizer/characters.h"
#include "tokenizer/steps.h"

#define KNOWN_FLAGS                                                                                \
    (IMAGE_TOKENS_FLAG_WHOLE_WORDS | IMAGE_TOKENS_FLAG_CHARACTERS |                                \
     IMAGE_TOKENS_FLAG_STRIP_SPACE | IMAGE_TOKENS_FLAG_CHAT | IMAGE_TOKENS_FLAG_TURNS |            \
     IMAGE_TOKENS_FLAG_FALLBACK | IMAGE_TOKENS_FLAG_FUSE_UNKNOWN)
#define ADDED_FLAGS                                                                                \
    (IMAGE_TOKEN_FLAG_SPECIAL | IMAGE_TOKEN_FLAG_NORMALIZED | IMAGE_TOKEN_FLAG_LEFT |              \
     IMAGE_TOKEN_FLAG_RIGHT | IMAGE_TOKEN_FLAG_WORD)
#define BESIDE_FLAGS (IMAGE_TOKEN_FLAG_LEFT | IMAGE_TOKEN_FLAG_RIGHT | IMAGE_TOKEN_FLAG_WORD)

struct parts {
    const uint8_t *steps;
    struct tokenizer_text data;
    uint32_t text_bytes, score_count;
};

static void read_head(const uint8_t *p, struct tokenizer *t, struct parts *parts)
{
    uint64_t bits = image_tokens_unknown_score(p);
    memcpy(&t->unknown_score, &bits, sizeof bits);
    t->model = image_tokens_model(p);
    t->flags = image_tokens_flags(p);
    t->vocab = image_tokens_vocab(p);
    t->merge_count = image_tokens_merge_count(p);
    t->sorted_count = image_tokens_sorted_count(p);
    t->added_count = image_tokens_added_count(p);
    t->added_size = IMAGE_TOKEN_ADDED_SIZE;
    t->step_count = image_tokens_step_count(p);
    t->normalizing = image_tokens_normalizing(p);
    t->end_id = image_tokens_end_id(p);
    t->unknown = image_tokens_unknown(p);
    t->word_characters = image_tokens_word_characters(p);
    parts->score_count = image_tokens_score_count(p);
    parts->text_bytes = image_tokens_text_bytes(p);
}

static int read_parts(const uint8_t *p, struct tokenizer_cursor *cursor, struct tokenizer *t,
                      struct parts *parts)
{
    t->byte_ids = tokenizer_take(cursor, IMAGE_BPE_BYTES, 4);
    t->offsets = tokenizer_take(cursor, (uint64_t)t->vocab + 1, 4);
    t->merges = tokenizer_take(cursor, t->merge_count, IMAGE_BPE_MERGE_SIZE);
    t->sorted = tokenizer_take(cursor, t->sorted_count, 4);
    t->scores = tokenizer_take(cursor, parts->score_count, 8);
    t->added = tokenizer_take(cursor, t->added_count, IMAGE_TOKEN_ADDED_SIZE);
    parts->steps = tokenizer_take(cursor, t->step_count, IMAGE_TOKEN_STEP_SIZE);
    parts->data = tokenizer_take_text(cursor, image_tokens_data_bytes(p));
    t->text = tokenizer_take(cursor, parts->text_bytes, 1);
    t->added_text = tokenizer_take_text(cursor, image_tokens_added_bytes(p));
    t->first = tokenizer_take_text(cursor, image_tokens_first_bytes(p));
    t->end = tokenizer_take_text(cursor, image_tokens_end_bytes(p));
    t->next = tokenizer_take_text(cursor, image_tokens_next_bytes(p));
    t->suffix = tokenizer_take_text(cursor, image_tokens_suffix_bytes(p));
    return !cursor->error && !cursor->left;
}

static int check_model(const struct tokenizer *t, const struct parts *parts)
{
    int unigram = t->model == IMAGE_TOKEN_MODEL_UNIGRAM, merges = t->model == IMAGE_TOKEN_MODEL_BPE;
    if (parts->score_count != (unigram ? t->vocab : 0))
        return 0;
    if (t->unknown >= t->vocab && (!merges || t->unknown != IMAGE_NO_TENSOR))
        return 0;
    for (uint32_t i = 0; t->flags & IMAGE_TOKENS_FLAG_FALLBACK && i < IMAGE_BPE_BYTES; i++)
        if (le_u32(t->byte_ids + 4u * i) == IMAGE_NO_TENSOR)
            return 0;
    return t->word_characters <= LIMIT_WORD_BYTES / 4u;
}

/* ---- added tokens ---- */

static int check_added(const struct tokenizer *t)
{
    for (uint32_t i = 0; i < t->added_count; i++) {
        const uint8_t *added = t->added + i * IMAGE_TOKEN_ADDED_SIZE;
        uint32_t id = image_token_added_id(added), flags = image_token_added_flags(added);
        uint32_t size = image_token_added_size(added);
        if (id >= t->vocab || (i && id <= image_token_added_id(added - IMAGE_TOKEN_ADDED_SIZE)))
            return 0;
        /* An empty one would be found again and again at the same place. */
        if (!size || size > LIMIT_ADDED_BYTES ||
            !checked_range(image_token_added_offset(added), size, t->added_text.size))
            return 0;
        if (flags & BESIDE_FLAGS && !t->beside.size)
            return 0;
    }
    return 1;
}

static int new_added(const struct tokenizer *t)
{
    for (uint32_t i = 0; i < t->added_count; i++)
        if (image_token_added_flags(t->added + i * IMAGE_TOKEN_ADDED_SIZE) & ~ADDED_FLAGS)
            return 1;
    return 0;
}

/* ---- steps ---- */

static int take_range(struct tokenizer_text data, uint32_t offset, uint32_t size,
                      struct tokenizer_text *range)
{
    if (!checked_range(offset, size, data.size))
        return 0;
    *range = (struct tokenizer_text){data.at + offset, size};
    return 1;
}

static int read_steps(struct tokenizer *t, const struct parts *parts)
{
    for (uint32_t i = 0; i < t->step_count; i++) {
        const uint8_t *p = parts->steps + i * IMAGE_TOKEN_STEP_SIZE;
        struct tokenizer_step *step = &t->steps[i];
        step->kind = image_token_step_kind(p);
        step->flags = image_token_step_flags(p);
        const struct tokenizer_step_kind *kind = tokenizer_step_kind(step->kind);
        if (!kind || !kind->knows(step->flags))
            return E_IMAGE_NEW;
        if (!take_range(parts->data, image_token_step_offset(p), image_token_step_size(p),
                        &step->table) ||
            !take_range(parts->data, image_token_step_text_offset(p), image_token_step_text_size(p),
                        &step->text) ||
            !kind->check(step))
            return E_IMAGE_BPE;
    }
    return 0;
}

int tokenizer_read_tokens(const struct image_part *part, uint32_t limit, struct tokenizer *t)
{
    struct tokenizer_cursor cursor = {part->data, part->size, 0};
    struct parts parts;
    const uint8_t *p = tokenizer_take(&cursor, 1, IMAGE_TOKENS_SIZE);
    t->section = IMAGE_SECTION_ID_TOKENS;
    if (cursor.error)
        return E_IMAGE_BPE;
    if (image_tokens_version(p) != IMAGE_TOKENS_VERSION)
        return E_IMAGE_NEW;
    read_head(p, t, &parts);
    if (t->flags & ~KNOWN_FLAGS || t->model - 1u >= IMAGE_TOKEN_MODEL_WORD_PIECE)
        return E_IMAGE_NEW;
    if (t->vocab > limit || t->step_count > IMAGE_MAX_TOKEN_STEPS ||
        t->normalizing > t->step_count || !read_parts(p, &cursor, t, &parts) ||
        !take_range(parts.data, image_tokens_beside(p), image_tokens_beside_bytes(p), &t->beside))
        return E_IMAGE_BPE;
    if (t->beside.size && !automaton_check(t->beside))
        return E_IMAGE_BPE;
    if (!tokenizer_check_tables(t, parts.text_bytes) || !check_model(t, &parts))
        return E_IMAGE_BPE;
    if (new_added(t))
        return E_IMAGE_NEW;
    return check_added(t) ? read_steps(t, &parts) : E_IMAGE_BPE;
}
