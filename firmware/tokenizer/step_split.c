/* SPDX-License-Identifier: Apache-2.0 */
/* The piece is cut by what an automaton finds. */
#include "tokenizer/characters.h"
#include "tokenizer/steps.h"

#define OPTIONS (IMAGE_SPLIT_FLAG_INVERT | IMAGE_SPLIT_FLAG_BYTES)

static int knows_flags(uint32_t flags)
{
    return (flags & ~OPTIONS) <= IMAGE_SPLIT_FLAG_MERGED_WITH_NEXT;
}

/* Whether a part begins a piece, behind one that matched or not (-1: the first). */
static int begins(uint32_t way, int before, int matched)
{
    switch (way) {
    case IMAGE_SPLIT_FLAG_CONTIGUOUS:
        return before != matched;
    case IMAGE_SPLIT_FLAG_MERGED_WITH_PREVIOUS:
        return !matched || before != 0;
    case IMAGE_SPLIT_FLAG_MERGED_WITH_NEXT:
        return matched || before != 1;
    default:
        return 1;
    }
}

static int put_part(const struct tokenizer_step *step, struct tokenizer_text part, int before,
                    int matched, struct tokenizer_buffer *out)
{
    uint32_t way = step->flags & ~OPTIONS;
    if (!part.size)
        return before;
    matched ^= (step->flags & IMAGE_SPLIT_FLAG_INVERT) != 0;
    if (begins(way, before, matched))
        buffer_begin(out);
    if (!matched || way != IMAGE_SPLIT_FLAG_REMOVED)
        buffer_put(out, part);
    return matched;
}

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    struct tokenizer_text left = piece.text, between = {left.at, 0};
    int before = -1, bytes = (step->flags & IMAGE_SPLIT_FLAG_BYTES) != 0;
    while (left.size) {
        uint32_t size = automaton_match(step->table.at, left, bytes);
        if (size) {
            before = put_part(step, between, before, 0, out);
            before = put_part(step, (struct tokenizer_text){left.at, size}, before, 1, out);
            between = (struct tokenizer_text){left.at + size, 0};
        } else {
            size = bytes ? 1u : character_at(left.at, left.size).size;
            between.size += size;
        }
        left.at += size;
        left.size -= size;
    }
    (void)put_part(step, between, before, 0, out);
}

const struct tokenizer_step_kind tokenizer_step_split = {knows_flags, step_check_automaton,
                                                         run_step};
