/* SPDX-License-Identifier: Apache-2.0 */
/* Characters become other texts: lower case, without accents, without control characters. */
#include "tokenizer/characters.h"
#include "tokenizer/steps.h"

static int check_step(const struct tokenizer_step *step)
{
    return code_map_check(step->table);
}

static void put_value(struct tokenizer_buffer *out, struct tokenizer_text value,
                      struct tokenizer_text itself)
{
    for (uint32_t i = 0; i < value.size; i++) {
        struct tokenizer_text byte = {value.at + i, 1};
        buffer_put(out, *byte.at == CODE_MAP_ITSELF ? itself : byte);
    }
}

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    struct tokenizer_text text = piece.text, value;
    for (uint32_t at = 0; at < text.size;) {
        struct character c = character_at(text.at + at, text.size - at);
        struct tokenizer_text itself = {text.at + at, c.size};
        if (code_map_find(step->table.at, c.code, &value))
            put_value(out, value, itself);
        else
            buffer_put(out, itself);
        at += c.size;
    }
}

const struct tokenizer_step_kind tokenizer_step_map = {step_knows_none, check_step, run_step};
