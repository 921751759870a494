/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_HANGUL_H
#define TOKENIZER_HANGUL_H

/* Hangul syllables and their parts: the Unicode Standard, section 3.12. */

#include "tokenizer/steps.h"

#define HANGUL_SYLLABLES 0xac00u
#define HANGUL_FIRST     0x1100u
#define HANGUL_VOWEL     0x1161u
#define HANGUL_LAST      0x11a7u /* one before: a syllable may have none */
#define HANGUL_FIRSTS    19u
#define HANGUL_VOWELS    21u
#define HANGUL_LASTS     28u

static inline int hangul_is_syllable(uint32_t code)
{
    return code - HANGUL_SYLLABLES < HANGUL_FIRSTS * HANGUL_VOWELS * HANGUL_LASTS;
}

static inline void hangul_put_parts(struct tokenizer_buffer *out, uint32_t code)
{
    uint32_t at = code - HANGUL_SYLLABLES;
    buffer_put_code(out, HANGUL_FIRST + at / (HANGUL_VOWELS * HANGUL_LASTS));
    buffer_put_code(out, HANGUL_VOWEL + at / HANGUL_LASTS % HANGUL_VOWELS);
    if (at % HANGUL_LASTS)
        buffer_put_code(out, HANGUL_LAST + at % HANGUL_LASTS);
}

/* The syllable of two parts, or 0. */
static inline uint32_t hangul_compose(uint32_t first, uint32_t second)
{
    uint32_t at = first - HANGUL_FIRST, vowel = second - HANGUL_VOWEL;
    if (at < HANGUL_FIRSTS && vowel < HANGUL_VOWELS)
        return HANGUL_SYLLABLES + (at * HANGUL_VOWELS + vowel) * HANGUL_LASTS;
    if (hangul_is_syllable(first) && (first - HANGUL_SYLLABLES) % HANGUL_LASTS == 0 &&
        second - HANGUL_LAST - 1u < HANGUL_LASTS - 1u)
        return first + second - HANGUL_LAST;
    return 0;
}

#endif
