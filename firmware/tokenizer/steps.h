/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_STEPS_H
#define TOKENIZER_STEPS_H

/* The steps of TOKENS: each makes a text in pieces from another one, piece by piece; one file a
 * kind, step_<kind>.c. */

#include "tokenizer/tokenizer.h"

struct tokenizer_piece {
    struct tokenizer_text text; /* never empty */
    int first;                  /* it begins the whole text */
};

struct tokenizer_step_kind {
    /* Whether flags are none but known ones; and whether the table is good. */
    int (*knows)(uint32_t flags);
    int (*check)(const struct tokenizer_step *step);
    /* What becomes of a piece, put at the end of `out`, where a piece begins already. */
    void (*run)(const struct tokenizer_step *step, struct tokenizer_piece piece,
                struct tokenizer_buffer *out);
};

/* NULL for one that this firmware does not know. */
const struct tokenizer_step_kind *tokenizer_step_kind(uint32_t kind);

/* A text by the steps from..to-1: in one of the buffers, which are overwritten. */
const struct tokenizer_buffer *tokenizer_run_steps(const struct tokenizer *tokenizer, uint32_t from,
                                                   uint32_t to, struct tokenizer_piece text,
                                                   struct tokenizer_buffer *one,
                                                   struct tokenizer_buffer *other);

/* The piece from `at` on, which is below the buffer's size; it begins the whole text where `first`
 * and at is 0. */
struct tokenizer_piece buffer_piece(const struct tokenizer_buffer *buffer, uint32_t at, int first);

void buffer_put(struct tokenizer_buffer *buffer, struct tokenizer_text text);
void buffer_put_code(struct tokenizer_buffer *buffer, uint32_t code);

/* What is put next begins a piece. */
void buffer_begin(struct tokenizer_buffer *buffer);

/* ---- for kinds ---- */

int step_knows_none(uint32_t flags);
int step_check_automaton(const struct tokenizer_step *step);

#endif
