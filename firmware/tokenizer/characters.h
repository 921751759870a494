/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_CHARACTERS_H
#define TOKENIZER_CHARACTERS_H

/* One character of a text, and the tables that characters are looked up in. A table is checked once
 * and then read as it is. */

#include "tokenizer/tokenizer.h"
#include "common/utf8.h"

#define CHARACTER_BROKEN 0xfffdu

struct character {
    uint32_t code;
    uint32_t size;
};

/* The character at the start of a text that is not empty; a byte that is no character's is one,
 * too. */
static inline struct character character_at(const uint8_t *at, uint32_t size)
{
    uint32_t whole = utf8_size(at[0]);
    if (!whole || utf8_valid(at, size) < whole)
        return (struct character){CHARACTER_BROKEN, 1};
    return (struct character){utf8_code(at, whole), whole};
}

/* Bytes of the last character of a text that is not empty. */
static inline uint32_t character_size_before(const uint8_t *at, uint32_t size)
{
    uint32_t back = 1;
    while (back < size && back < 4 && (at[size - back] & 0xc0u) == 0x80u)
        back++;
    return character_at(at + size - back, back).size == back ? back : 1;
}

/* Classes of characters, and an automaton that steps by them:
 *   u32 run_count, class_count, state_count;
 *   u32 runs[run_count]: where a class begins << 8 | the class, ascending, the first from 0;
 *   u16 next[state_count][class_count + 1]: by the next character's class, or that of the text's
 *   end, the next state, or AUTOMATON_DEAD; AUTOMATON_MATCH: a match ends before that character.
 * It begins in state 0. */
#define AUTOMATON_DEAD  0x7fffu
#define AUTOMATON_MATCH 0x8000u

/* Bytes of the table at the start of `table`, or 0 where it is damaged. */
uint32_t automaton_check(struct tokenizer_text table);

uint32_t automaton_states(const uint8_t *table);
uint32_t automaton_class(const uint8_t *table, uint32_t code);

/* Bytes of the match at the start of a text, of which one alternative is taken as a backtracking
 * matcher takes it; 0: none. `bytes`: each byte is a character. */
uint32_t automaton_match(const uint8_t *table, struct tokenizer_text text, int bytes);

/* What characters become:
 *   u32 count; {u32 first, last, offset, size} [count], ascending: codes, and where the text lies
 *   that they become, in which CODE_MAP_ITSELF stands for the character; the texts' bytes. */
#define CODE_MAP_ITSELF 0xffu

/* Whether the whole of it is good. */
int code_map_check(struct tokenizer_text table);

/* Whether a character becomes something else, and what. */
int code_map_find(const uint8_t *table, uint32_t code, struct tokenizer_text *value);

#endif
