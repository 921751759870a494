/* SPDX-License-Identifier: Apache-2.0 */
/* Characters become their parts, combining ones in canonical order (Unicode Standard Annex 15).
 * The table: u32 bytes of a map of parts; the map, to a multiple of 4; combining classes, as an
 * automaton without states. Hangul syllables are taken apart by arithmetic. */
#include <string.h>

#include "tokenizer/characters.h"
#include "tokenizer/hangul.h"
#include "tokenizer/steps.h"

static const uint8_t *map_of(const struct tokenizer_step *step)
{
    return step->table.at + 4;
}

static const uint8_t *classes_of(const struct tokenizer_step *step)
{
    return step->table.at + 4 + le_u32(step->table.at);
}

static int check_step(const struct tokenizer_step *step)
{
    struct tokenizer_text table = step->table;
    if (table.size < 4u)
        return 0;
    uint32_t size = le_u32(table.at);
    if (size > table.size - 4u || size % 4u)
        return 0;
    return code_map_check((struct tokenizer_text){table.at + 4, size}) &&
           automaton_check((struct tokenizer_text){table.at + 4 + size, table.size - 4u - size});
}

/* Moves the last character, of `size` bytes, before those that canonical order puts behind it. */
static void put_in_order(const uint8_t *classes, struct tokenizer_buffer *out, uint32_t begin,
                         uint32_t size)
{
    uint32_t end = out->size - size, to = end;
    uint8_t moved[4];
    uint32_t own = automaton_class(classes, character_at(out->text + end, size).code);
    while (own && to > begin) {
        uint32_t before = character_size_before(out->text + begin, to - begin);
        uint32_t code = character_at(out->text + to - before, before).code;
        if (automaton_class(classes, code) <= own)
            break;
        to -= before;
    }
    if (to == end)
        return;
    memcpy(moved, out->text + end, size);
    memmove(out->text + to + size, out->text + to, end - to);
    memcpy(out->text + to, moved, size);
}

static void put_parts(const struct tokenizer_step *step, struct tokenizer_text parts,
                      uint32_t begin, struct tokenizer_buffer *out)
{
    for (uint32_t at = 0; at < parts.size && !out->full;) {
        uint32_t size = character_at(parts.at + at, parts.size - at).size;
        buffer_put(out, (struct tokenizer_text){parts.at + at, size});
        if (!out->full)
            put_in_order(classes_of(step), out, begin, size);
        at += size;
    }
}

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    struct tokenizer_text text = piece.text, parts;
    uint32_t begin = out->size;
    for (uint32_t at = 0; at < text.size && !out->full;) {
        struct character c = character_at(text.at + at, text.size - at);
        if (hangul_is_syllable(c.code))
            hangul_put_parts(out, c.code);
        else if (code_map_find(map_of(step), c.code, &parts))
            put_parts(step, parts, begin, out);
        else
            put_parts(step, (struct tokenizer_text){text.at + at, c.size}, begin, out);
        at += c.size;
    }
}

const struct tokenizer_step_kind tokenizer_step_decompose = {step_knows_none, check_step, run_step};
