/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_TOKENIZER_H
#define TOKENIZER_TOKENIZER_H

/* Text to tokens and back on the device, for lines that somebody typed: from the image's section
 * TOKENS, or from BPE, the section of byte pair encodings of few kinds. The host's tokenizer gives
 * the same ids (docs/tokenizers.md says which ones there are tables for).
 */

#include <stdint.h>

#include "image/image.h"
#include "common/limits.h"

/* The longest text that is tokenized at once. */
#define TOKENIZER_TEXT_BYTES 4096u

/* The longest text while it is normalized and cut. */
#define TOKENIZER_WORK_BYTES 8192u

/* The longest piece of it: with the one space in front that SentencePiece wants. */
#define TOKENIZER_PIECE_BYTES (TOKENIZER_TEXT_BYTES + 1u)

struct tokenizer_symbol {
    uint32_t id;
    uint32_t rank; /* of its merge with the next one; IMAGE_NO_TENSOR: none */
    uint32_t merged;
};

/* The best way to where a token ends. */
struct tokenizer_end {
    double score;
    uint32_t start; /* IMAGE_NO_TENSOR: there is no way */
    uint32_t id;
};

struct tokenizer_text {
    const uint8_t *at;
    uint32_t size;
};

/* One step of TOKENS, once checked; its table and text lie in the image. */
struct tokenizer_step {
    uint32_t kind; /* IMAGE_STEP_KIND_* */
    uint32_t flags;
    struct tokenizer_text table;
    struct tokenizer_text text;
};

/* A text in pieces that steps make from another one. */
struct tokenizer_buffer {
    uint32_t size;
    int full; /* something did not fit: the text is too long */
    uint8_t text[TOKENIZER_WORK_BYTES];
    uint8_t begins[TOKENIZER_WORK_BYTES / 8u]; /* a bit each byte: a piece begins there */
};

/* The added tokens of one kind: these places in `added_order`. */
struct tokenizer_set {
    uint32_t from, to;
};

/* The section's parts, once checked; all of them lie in the image. */
struct tokenizer {
    uint32_t section; /* IMAGE_SECTION_ID_TOKENS or _BPE, of which some parts are the former's */
    uint32_t split;   /* of BPE: IMAGE_SPLIT_* */
    uint32_t model;   /* IMAGE_TOKEN_MODEL_* */
    uint32_t flags;   /* IMAGE_BPE_FLAG_*, of which TOKENS has more: IMAGE_TOKENS_FLAG_* */
    uint32_t vocab;   /* 0: the image has no such section */
    uint32_t merge_count;
    uint32_t sorted_count;
    uint32_t added_count;
    uint32_t added_size; /* of a record */
    uint32_t end_id;     /* the token of `end`, or IMAGE_NO_TENSOR */
    uint32_t unknown;    /* or IMAGE_NO_TENSOR */
    uint32_t word_characters;
    uint32_t step_count, normalizing;
    double unknown_score;
    const uint8_t *byte_ids;
    const uint8_t *offsets;
    const uint8_t *merges;
    const uint8_t *sorted;
    const uint8_t *scores;
    const uint8_t *added;
    const uint8_t *text;
    struct tokenizer_text added_text; /* TOKENS: what added tokens look like in a text */
    struct tokenizer_text beside;     /* TOKENS: the classes that their flags need */
    struct tokenizer_text first, end, next, suffix;
    struct tokenizer_set raw, normalized;
    struct tokenizer_step steps[IMAGE_MAX_TOKEN_STEPS];
    uint16_t added_order[LIMIT_ADDED]; /* entries of `added`, by set and ascending by their texts */
    uint16_t added_link[LIMIT_ADDED];  /* by place in that order: added.c */
    union {
        struct tokenizer_symbol symbols[TOKENIZER_PIECE_BYTES];
        struct tokenizer_end ends[TOKENIZER_PIECE_BYTES + 1u];
    } work; /* of the piece that becomes tokens */
    struct tokenizer_buffer buffers[3];
};

/* The section TOKENS, or else BPE: every count, offset and id in it. `limit` is the model's
 * vocabulary. Work is bounded by the limits of limits.h, and so is that of all below. Returns 0,
 * also where the image has no such section, E_IMAGE_BPE, or E_IMAGE_NEW for what a later version
 * brought. */
int tokenizer_read(const struct image *image, uint32_t limit, struct tokenizer *tokenizer);

/* The ids of a text of any bytes; of UTF-8 those that the host finds. Returns their number, or
 * E_PENDING where there are more than `capacity` or the text is too long. */
int tokenizer_encode(struct tokenizer *tokenizer, const uint8_t *text, uint32_t size, uint32_t *ids,
                     uint32_t capacity);

/* The bytes that a token stands for in an answer: none for special tokens and unknown ids. */
struct tokenizer_text tokenizer_decode(const struct tokenizer *tokenizer, uint32_t id);

#endif
