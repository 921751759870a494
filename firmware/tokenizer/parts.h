/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_PARTS_H
#define TOKENIZER_PARTS_H

/* What the files of the tokenizer ask of each other. */

#include "tokenizer/tokenizer.h"

/* ---- reading: tables.c, bpe.c, tokens.c ---- */

struct tokenizer_cursor {
    const uint8_t *at;
    uint64_t left;
    int error;
};

/* The next part of a section: `count` records of `size` bytes. */
const uint8_t *tokenizer_take(struct tokenizer_cursor *cursor, uint64_t count, uint64_t size);

struct tokenizer_text tokenizer_take_text(struct tokenizer_cursor *cursor, uint32_t size);

/* Texts, merges, sorted ids, the bytes' ids and the end: what both sections have. Returns whether
 * they are good. */
int tokenizer_check_tables(const struct tokenizer *tokenizer, uint32_t text_bytes);

int tokenizer_read_bpe(const struct image_part *part, uint32_t limit, struct tokenizer *tokenizer);

int tokenizer_read_tokens(const struct image_part *part, uint32_t limit,
                          struct tokenizer *tokenizer);

/* ---- texts ---- */

/* The bytes of a token below vocab, special or not. */
struct tokenizer_text tokenizer_bytes(const struct tokenizer *tokenizer, uint32_t id);

/* Below 0, 0 or above 0 as a stands before, at or behind b. */
int tokenizer_compare(struct tokenizer_text a, struct tokenizer_text b);

/* The token of `sorted` whose text is exactly these bytes, or IMAGE_NO_TENSOR. */
uint32_t tokenizer_find_text(const struct tokenizer *tokenizer, const uint8_t *at, uint32_t size);

/* ---- encoding ---- */

struct tokenizer_output {
    uint32_t *ids;
    uint32_t count;
    uint32_t capacity;
};

/* Returns 0 or E_PENDING. */
int tokenizer_put_id(struct tokenizer_output *out, uint32_t id);

/* A text whose section is TOKENS. Returns 0 or E_PENDING. */
int tokenizer_encode_tokens(struct tokenizer *tokenizer, struct tokenizer_text text,
                            struct tokenizer_output *out);

/* Bytes of the first piece of a text that is not empty: what merges never cross. */
uint32_t tokenizer_split(uint32_t split, const uint8_t *text, uint32_t size);

/* The tokens of one piece, of at most TOKENIZER_PIECE_BYTES, by each kind of model. Return 0 or
 * E_PENDING. */
int tokenizer_merge(struct tokenizer *tokenizer, struct tokenizer_text piece,
                    struct tokenizer_output *out);
int tokenizer_unigram(struct tokenizer *tokenizer, struct tokenizer_text piece,
                      struct tokenizer_output *out);
int tokenizer_word_piece(struct tokenizer *tokenizer, struct tokenizer_text piece,
                         struct tokenizer_output *out);

/* ---- added tokens: added.c ---- */

#define TOKENIZER_NONE UINT16_MAX

/* Prepares the others. */
void tokenizer_sort_added(struct tokenizer *tokenizer);

/* The place of the longest token of a set that a text begins with, of equal ones of the first in
 * the image; or TOKENIZER_NONE. */
uint16_t tokenizer_find_added(const struct tokenizer *tokenizer, struct tokenizer_set set,
                              struct tokenizer_text text);

uint32_t tokenizer_added_id(const struct tokenizer *tokenizer, uint16_t place);
uint32_t tokenizer_added_flags(const struct tokenizer *tokenizer, uint16_t place);
struct tokenizer_text tokenizer_added_text(const struct tokenizer *tokenizer, uint16_t place);

/* Whether a token below vocab is added and special. */
int tokenizer_is_special(const struct tokenizer *tokenizer, uint32_t id);

#endif
