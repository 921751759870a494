/* SPDX-License-Identifier: Apache-2.0 */
/* WordPiece: the longest token at each place; a word that has none somewhere is unknown. Tokens
 * that begin a word have a space before them in the tables, others have nothing. */
#include <string.h>

#include "tokenizer/characters.h"
#include "tokenizer/parts.h"

static uint32_t characters(struct tokenizer_text word)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < word.size; count++)
        at += character_at(word.at + at, word.size - at).size;
    return count;
}

/* The longest token that the text begins with; its bytes go to `size`, 0: there is none. */
static uint32_t longest(const struct tokenizer *t, struct tokenizer_text text, uint32_t *size)
{
    for (*size = text.size; *size; *size -= character_size_before(text.at, *size)) {
        uint32_t id = tokenizer_find_text(t, text.at, *size);
        if (id != IMAGE_NO_TENSOR)
            return id;
    }
    return t->unknown;
}

int tokenizer_word_piece(struct tokenizer *t, struct tokenizer_text piece,
                         struct tokenizer_output *out)
{
    uint8_t spaced[1u + LIMIT_WORD_BYTES];
    uint32_t from = out->count, size;
    int error = 0;
    if (piece.size > LIMIT_WORD_BYTES || characters(piece) > t->word_characters)
        return tokenizer_put_id(out, t->unknown);
    spaced[0] = ' ';
    memcpy(spaced + 1, piece.at, piece.size);
    struct tokenizer_text left = {spaced, piece.size + 1u};
    while (left.size && !error) {
        uint32_t id = longest(t, left, &size);
        if (!size || (left.at == spaced && size == 1u)) {
            out->count = from;
            return tokenizer_put_id(out, t->unknown);
        }
        error = tokenizer_put_id(out, id);
        left.at += size;
        left.size -= size;
    }
    return error;
}
