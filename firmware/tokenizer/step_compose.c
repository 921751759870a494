/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs become one character where nothing between them is in the way (Unicode Standard Annex 15).
 * The table: u32 pair_count; {u32 first, second, composed}, ascending by the pair; combining
 * classes, as an automaton without states. The text is decomposed. */
#include <string.h>

#include "tokenizer/characters.h"
#include "tokenizer/hangul.h"
#include "tokenizer/steps.h"

#define PAIR 12u

static const uint8_t *pair_at(const uint8_t *table, uint32_t i)
{
    return table + 4u + PAIR * i;
}

static uint64_t pair_of(const uint8_t *table, uint32_t i)
{
    return (uint64_t)le_u32(pair_at(table, i)) << 32 | le_u32(pair_at(table, i) + 4);
}

static int check_step(const struct tokenizer_step *step)
{
    struct tokenizer_text table = step->table;
    if (table.size < 4u || le_u32(table.at) > (table.size - 4u) / PAIR)
        return 0;
    uint32_t count = le_u32(table.at), size = 4u + PAIR * count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t composed = le_u32(pair_at(table.at, i) + 8);
        if (composed > 0x10ffffu || composed - 0xd800u < 0x800u)
            return 0;
        if (i && pair_of(table.at, i - 1) >= pair_of(table.at, i))
            return 0;
    }
    return automaton_check((struct tokenizer_text){table.at + size, table.size - size}) != 0;
}

static uint32_t compose(const uint8_t *table, uint32_t first, uint32_t second)
{
    uint64_t wanted = (uint64_t)first << 32 | second;
    uint32_t low = 0, high = le_u32(table), syllable = hangul_compose(first, second);
    while (low < high && !syllable) {
        uint32_t middle = (low + high) / 2;
        uint64_t found = pair_of(table, middle);
        if (found == wanted)
            return le_u32(pair_at(table, middle) + 8);
        if (found < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return syllable;
}

/* Another character in place of the one at `at`, of `size` bytes. Returns its bytes. */
static uint32_t put_instead(struct tokenizer_buffer *out, uint32_t at, uint32_t size, uint32_t code)
{
    uint32_t before = out->size;
    uint8_t bytes[4];
    buffer_put_code(out, code);
    uint32_t now = out->size - before;
    if (out->full)
        return size;
    memcpy(bytes, out->text + before, now);
    memmove(out->text + at + now, out->text + at + size, before - at - size);
    memcpy(out->text + at, bytes, now);
    out->size = before - size + now;
    return now;
}

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    const uint8_t *table = step->table.at, *classes = pair_at(table, le_u32(table));
    struct tokenizer_text text = piece.text;
    uint32_t starter_at = 0, starter_size = 0, starter = 0, last = 0;
    for (uint32_t at = 0; at < text.size && !out->full;) {
        struct character c = character_at(text.at + at, text.size - at);
        uint32_t own = automaton_class(classes, c.code);
        int adjacent = starter_at + starter_size == out->size;
        uint32_t whole = 0;
        if (starter_size && (adjacent || last < own))
            whole = compose(table, starter, c.code);
        if (whole) {
            starter = whole;
            starter_size = put_instead(out, starter_at, starter_size, whole);
        } else {
            if (!own) {
                starter_at = out->size;
                starter_size = c.size;
                starter = c.code;
            }
            last = own;
            buffer_put(out, (struct tokenizer_text){text.at + at, c.size});
        }
        at += c.size;
    }
}

const struct tokenizer_step_kind tokenizer_step_compose = {step_knows_none, check_step, run_step};
