/* SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/characters.h"

#include "common/checked.h"

#define HEAD      12u
#define RANGE     16u
#define LAST_CODE 0x10ffffu

/* ---- automata ---- */

static uint32_t run_count(const uint8_t *table)
{
    return le_u32(table);
}

static uint32_t class_count(const uint8_t *table)
{
    return le_u32(table + 4);
}

uint32_t automaton_states(const uint8_t *table)
{
    return le_u32(table + 8);
}

static const uint8_t *next_at(const uint8_t *table, uint32_t state, uint32_t kind)
{
    uint32_t row = state * (class_count(table) + 1u);
    return table + HEAD + 4u * run_count(table) + 2u * (row + kind);
}

static int runs_are_good(const uint8_t *table)
{
    for (uint32_t i = 0; i < run_count(table); i++) {
        uint32_t run = le_u32(table + HEAD + 4u * i);
        if ((run & 0xffu) >= class_count(table))
            return 0;
        if (i ? run >> 8 <= le_u32(table + HEAD + 4u * i - 4u) >> 8 : run >> 8)
            return 0;
    }
    return run_count(table) > 0;
}

static int states_are_good(const uint8_t *table)
{
    uint32_t entries = automaton_states(table) * (class_count(table) + 1u);
    for (uint32_t i = 0; i < entries; i++) {
        uint32_t next = le_u16(next_at(table, 0, i)) & ~AUTOMATON_MATCH;
        if (next >= automaton_states(table) && next != AUTOMATON_DEAD)
            return 0;
    }
    return 1;
}

uint32_t automaton_check(struct tokenizer_text table)
{
    if (table.size < HEAD || run_count(table.at) > LAST_CODE || class_count(table.at) > 256u ||
        automaton_states(table.at) >= AUTOMATON_DEAD)
        return 0;
    uint64_t entries = (uint64_t)automaton_states(table.at) * (class_count(table.at) + 1u);
    uint64_t size = HEAD + 4ull * run_count(table.at) + ((2ull * entries + 3u) & ~3ull);
    if (size > table.size || !runs_are_good(table.at) || !states_are_good(table.at))
        return 0;
    return (uint32_t)size;
}

uint32_t automaton_class(const uint8_t *table, uint32_t code)
{
    uint32_t low = 0, high = run_count(table);
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (le_u32(table + HEAD + 4u * middle) >> 8 <= code)
            low = middle;
        else
            high = middle;
    }
    return le_u32(table + HEAD + 4u * low) & 0xffu;
}

uint32_t automaton_match(const uint8_t *table, struct tokenizer_text text, int bytes)
{
    uint32_t state = 0, at = 0, found = 0;
    for (;;) {
        struct character c = {0, 0};
        uint32_t kind = class_count(table);
        if (at < text.size) {
            c = bytes ? (struct character){text.at[at], 1}
                      : character_at(text.at + at, text.size - at);
            kind = automaton_class(table, c.code);
        }
        uint32_t next = le_u16(next_at(table, state, kind));
        if (next & AUTOMATON_MATCH)
            found = at;
        state = next & ~AUTOMATON_MATCH;
        if (state == AUTOMATON_DEAD || at == text.size)
            return found;
        at += c.size;
    }
}

/* ---- maps ---- */

int code_map_check(struct tokenizer_text table)
{
    uint32_t after = 0;
    if (table.size < 4u || le_u32(table.at) > (table.size - 4u) / RANGE)
        return 0;
    uint32_t count = le_u32(table.at), bytes = table.size - 4u - RANGE * count;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *range = table.at + 4u + RANGE * i;
        uint32_t first = le_u32(range), last = le_u32(range + 4);
        if (first < after || last < first || last > LAST_CODE)
            return 0;
        if (!checked_range(le_u32(range + 8), le_u32(range + 12), bytes))
            return 0;
        after = last + 1u;
    }
    return 1;
}

int code_map_find(const uint8_t *table, uint32_t code, struct tokenizer_text *value)
{
    uint32_t count = le_u32(table), low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const uint8_t *range = table + 4u + RANGE * middle;
        if (le_u32(range) <= code && code <= le_u32(range + 4)) {
            *value = (struct tokenizer_text){table + 4u + RANGE * count + le_u32(range + 8),
                                             le_u32(range + 12)};
            return 1;
        }
        if (le_u32(range) <= code)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}
