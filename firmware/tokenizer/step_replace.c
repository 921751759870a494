/* SPDX-License-Identifier: Apache-2.0 */
/* What an automaton finds becomes the step's text. */
#include "tokenizer/characters.h"
#include "tokenizer/steps.h"

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    struct tokenizer_text left = piece.text;
    while (left.size) {
        uint32_t size = automaton_match(step->table.at, left, 0);
        if (size) {
            buffer_put(out, step->text);
        } else {
            size = character_at(left.at, left.size).size;
            buffer_put(out, (struct tokenizer_text){left.at, size});
        }
        left.at += size;
        left.size -= size;
    }
}

const struct tokenizer_step_kind tokenizer_step_replace = {step_knows_none, step_check_automaton,
                                                           run_step};
