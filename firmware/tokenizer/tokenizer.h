/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_TOKENIZER_H
#define TOKENIZER_TOKENIZER_H

/* Text to tokens and back on the device, for lines that somebody typed: byte pair encoding from the
 * image's BPE section. The host's tokenizer gives the same ids (docs/terminal.md names what it has
 * that this has not).
 */

#include <stdint.h>

#include "image/image.h"
#include "common/limits.h"

/* The longest text that is tokenized at once. */
#define TOKENIZER_TEXT_BYTES 4096u

/* With the one space in front that SentencePiece wants. */
#define TOKENIZER_SYMBOLS (TOKENIZER_TEXT_BYTES + 1u)

struct tokenizer_symbol {
    uint32_t id;
    uint32_t rank; /* of its merge with the next one; IMAGE_NO_TENSOR: none */
    uint32_t merged;
};

struct tokenizer_text {
    const uint8_t *at;
    uint32_t size;
};

/* The section's parts, once checked; all of them lie in the image. */
struct tokenizer {
    uint32_t split; /* IMAGE_SPLIT_* */
    uint32_t flags; /* IMAGE_BPE_FLAG_* */
    uint32_t vocab; /* 0: the image has no such section */
    uint32_t merge_count;
    uint32_t sorted_count;
    uint32_t added_count;
    uint32_t end_id; /* the token of `end`, or IMAGE_NO_TENSOR */
    const uint8_t *byte_ids;
    const uint8_t *offsets;
    const uint8_t *merges;
    const uint8_t *sorted;
    const uint8_t *added;
    const uint8_t *text;
    struct tokenizer_text first, end, next, suffix;
    uint16_t added_order[LIMIT_ADDED]; /* entries of `added`, ascending by their texts */
    uint16_t added_link[LIMIT_ADDED];  /* by place in that order: added.c */
    struct tokenizer_symbol symbols[TOKENIZER_SYMBOLS]; /* of the piece that is merged */
};

/* The BPE section: every count, offset and id in it. `limit` is the model's vocabulary. Work is
 * bounded by the limits of limits.h, and so is that of all below. Returns 0, also where the image
 * has no such section, or E_IMAGE_BPE. */
int tokenizer_read(const struct image *image, uint32_t limit, struct tokenizer *tokenizer);

/* The ids of a text of any bytes; of UTF-8 those that the host finds. Returns their number, or
 * E_PENDING where there are more than `capacity` or the text is too long. */
int tokenizer_encode(struct tokenizer *tokenizer, const uint8_t *text, uint32_t size, uint32_t *ids,
                     uint32_t capacity);

/* The bytes that a token stands for in an answer: none for special tokens and unknown ids. */
struct tokenizer_text tokenizer_decode(const struct tokenizer *tokenizer, uint32_t id);

/* ---- between its files ---- */

/* Bytes of the first piece of a text that is not empty: what merges never cross. */
uint32_t tokenizer_split(uint32_t split, const uint8_t *text, uint32_t size);

/* The tokens of one piece, of at most TOKENIZER_TEXT_BYTES. Returns their number, or E_PENDING. */
int tokenizer_merge(struct tokenizer *tokenizer, const uint8_t *piece, uint32_t size, uint32_t *ids,
                    uint32_t capacity);

/* Prepares the two below. */
void tokenizer_sort_added(struct tokenizer *tokenizer);

/* The longest added token that a text begins with, of equal ones the first in the image; or
 * IMAGE_NO_TENSOR. */
uint32_t tokenizer_find_added(const struct tokenizer *tokenizer, const uint8_t *at, uint32_t size);

/* Whether a token below vocab is added and special. */
int tokenizer_is_special(const struct tokenizer *tokenizer, uint32_t id);

/* The bytes of a token below vocab, special or not. */
struct tokenizer_text tokenizer_bytes(const struct tokenizer *tokenizer, uint32_t id);

/* Below 0, 0 or above 0 as a stands before, at or behind b. */
int tokenizer_compare(struct tokenizer_text a, struct tokenizer_text b);

#endif
