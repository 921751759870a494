/* SPDX-License-Identifier: Apache-2.0 */
/* A text by the section TOKENS: cut at added tokens, normalized, cut at those that are found in
 * normalized text, cut by the steps that are left, and each piece by the model. */
#include "tokenizer/characters.h"
#include "tokenizer/parts.h"
#include "tokenizer/steps.h"

#include "gen/errors.h"

enum { SPACE = 1, WORD = 2 }; /* the classes of `beside` */

struct found {
    uint32_t begin, end; /* what it takes in */
    uint32_t id;
};

/* Where in a text the next added token is looked for, and what is done with before. */
struct search {
    struct tokenizer_text text;
    uint32_t at, done;
};

static uint32_t class_behind(const struct tokenizer *t, struct tokenizer_text text, uint32_t at)
{
    if (at >= text.size)
        return 0;
    return automaton_class(t->beside.at, character_at(text.at + at, text.size - at).code);
}

static uint32_t class_before(const struct tokenizer *t, struct tokenizer_text text, uint32_t at)
{
    if (!at)
        return 0;
    return class_behind(t, text, at - character_size_before(text.at, at));
}

static void widen(const struct tokenizer *t, const struct search *search, uint32_t flags,
                  struct found *found)
{
    struct tokenizer_text text = search->text;
    while (flags & IMAGE_TOKEN_FLAG_LEFT && found->begin > search->done &&
           class_before(t, text, found->begin) == SPACE)
        found->begin -= character_size_before(text.at, found->begin);
    while (flags & IMAGE_TOKEN_FLAG_RIGHT && class_behind(t, text, found->end) == SPACE)
        found->end += character_at(text.at + found->end, text.size - found->end).size;
}

static int find_next(const struct tokenizer *t, struct tokenizer_set set, struct search *search,
                     struct found *found)
{
    struct tokenizer_text text = search->text;
    while (set.from < set.to && search->at < text.size) {
        uint32_t at = search->at;
        struct tokenizer_text left = {text.at + at, text.size - at};
        uint16_t place = tokenizer_find_added(t, set, left);
        search->at++;
        if (place == TOKENIZER_NONE)
            continue;
        uint32_t flags = tokenizer_added_flags(t, place);
        uint32_t end = search->at = at + tokenizer_added_text(t, place).size;
        if (flags & IMAGE_TOKEN_FLAG_WORD &&
            (class_before(t, text, at) == WORD || class_behind(t, text, end) == WORD))
            continue;
        *found = (struct found){at, end, tokenizer_added_id(t, place)};
        widen(t, search, flags, found);
        return 1;
    }
    return 0;
}

static int encode_piece(struct tokenizer *t, struct tokenizer_text piece,
                        struct tokenizer_output *out)
{
    if (piece.size > TOKENIZER_PIECE_BYTES)
        return E_PENDING;
    switch (t->model) {
    case IMAGE_TOKEN_MODEL_UNIGRAM:
        return tokenizer_unigram(t, piece, out);
    case IMAGE_TOKEN_MODEL_WORD_PIECE:
        return tokenizer_word_piece(t, piece, out);
    default:
        return tokenizer_merge(t, piece, out);
    }
}

static int encode_normalized(struct tokenizer *t, struct tokenizer_piece part,
                             struct tokenizer_buffer *one, struct tokenizer_buffer *other,
                             struct tokenizer_output *out)
{
    if (!part.text.size)
        return 0;
    const struct tokenizer_buffer *cut =
        tokenizer_run_steps(t, t->normalizing, t->step_count, part, one, other);
    int error = cut->full ? E_PENDING : 0;
    for (uint32_t at = 0; at < cut->size && !error;) {
        struct tokenizer_text piece = buffer_piece(cut, at, 0).text;
        error = encode_piece(t, piece, out);
        at += piece.size;
    }
    return error;
}

/* Between two added tokens. */
static int encode_raw(struct tokenizer *t, struct tokenizer_piece part,
                      struct tokenizer_output *out)
{
    struct tokenizer_buffer *b = t->buffers;
    if (!part.text.size)
        return 0;
    const struct tokenizer_buffer *done =
        tokenizer_run_steps(t, 0, t->normalizing, part, &b[0], &b[1]);
    struct tokenizer_buffer *spare = done == &b[0] ? &b[1] : &b[0];
    struct search search = {{done->text, done->size}, 0, 0};
    struct found found;
    int error = done->full ? E_PENDING : 0;
    while (!error && find_next(t, t->normalized, &search, &found)) {
        uint32_t from = search.done, size = found.begin > from ? found.begin - from : 0;
        struct tokenizer_piece before = {{done->text + from, size}, part.first && !from};
        search.done = found.end;
        error = encode_normalized(t, before, spare, &b[2], out);
        error = error ? error : tokenizer_put_id(out, found.id);
    }
    struct tokenizer_text left = {done->text + search.done, done->size - search.done};
    struct tokenizer_piece rest = {left, part.first && !search.done};
    return error ? error : encode_normalized(t, rest, spare, &b[2], out);
}

int tokenizer_encode_tokens(struct tokenizer *t, struct tokenizer_text text,
                            struct tokenizer_output *out)
{
    struct search search = {text, 0, 0};
    struct found found;
    int error = 0;
    while (!error && find_next(t, t->raw, &search, &found)) {
        uint32_t from = search.done, size = found.begin > from ? found.begin - from : 0;
        struct tokenizer_piece before = {{text.at + from, size}, !from};
        search.done = found.end;
        error = encode_raw(t, before, out);
        error = error ? error : tokenizer_put_id(out, found.id);
    }
    struct tokenizer_text left = {text.at + search.done, text.size - search.done};
    return error ? error : encode_raw(t, (struct tokenizer_piece){left, !search.done}, out);
}
