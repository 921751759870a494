/* SPDX-License-Identifier: Apache-2.0 */
/* The step's text comes first. */
#include <string.h>

#include "tokenizer/steps.h"

static int knows_flags(uint32_t flags)
{
    return !(flags & ~(IMAGE_PREPEND_FLAG_MISSING | IMAGE_PREPEND_FLAG_FIRST));
}

static int check_step(const struct tokenizer_step *step)
{
    return !step->table.size;
}

static int begins_with(struct tokenizer_text text, struct tokenizer_text begin)
{
    return begin.size <= text.size && !memcmp(text.at, begin.at, begin.size);
}

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    int there = step->flags & IMAGE_PREPEND_FLAG_MISSING && begins_with(piece.text, step->text);
    int elsewhere = step->flags & IMAGE_PREPEND_FLAG_FIRST && !piece.first;
    if (!there && !elsewhere)
        buffer_put(out, step->text);
    buffer_put(out, piece.text);
}

const struct tokenizer_step_kind tokenizer_step_prepend = {knows_flags, check_step, run_step};
