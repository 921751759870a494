/* SPDX-License-Identifier: Apache-2.0 */
/* Characters of class 1 vanish at the ends. */
#include "tokenizer/characters.h"
#include "tokenizer/steps.h"

static int knows_flags(uint32_t flags)
{
    return !(flags & ~(IMAGE_STRIP_FLAG_LEFT | IMAGE_STRIP_FLAG_RIGHT));
}

static int check_step(const struct tokenizer_step *step)
{
    return automaton_check(step->table) != 0;
}

static int vanishes(const struct tokenizer_step *step, const uint8_t *at, uint32_t size)
{
    return automaton_class(step->table.at, character_at(at, size).code) == 1u;
}

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    struct tokenizer_text text = piece.text;
    while (step->flags & IMAGE_STRIP_FLAG_LEFT && text.size && vanishes(step, text.at, text.size)) {
        uint32_t size = character_at(text.at, text.size).size;
        text.at += size;
        text.size -= size;
    }
    while (step->flags & IMAGE_STRIP_FLAG_RIGHT && text.size) {
        uint32_t size = character_size_before(text.at, text.size);
        if (!vanishes(step, text.at + text.size - size, size))
            break;
        text.size -= size;
    }
    buffer_put(out, text);
}

const struct tokenizer_step_kind tokenizer_step_strip = {knows_flags, check_step, run_step};
