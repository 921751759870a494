/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

/* UTF-8 as the Unicode standard has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */

#include <stdint.h>

/* Bytes of the character that begins with `byte`; 0 where none does. */
static inline uint32_t utf8_size(uint8_t byte)
{
    if (byte < 0x80u)
        return 1;
    if (byte < 0xc2u || byte > 0xf4u)
        return 0;
    return byte < 0xe0u ? 2 : byte < 0xf0u ? 3 : 4;
}

/* Whether `byte` may be the second one behind `first`. */
static inline int utf8_second(uint8_t first, uint8_t byte)
{
    uint8_t low = first == 0xe0u ? 0xa0u : first == 0xf0u ? 0x90u : 0x80u;
    uint8_t high = first == 0xedu ? 0x9fu : first == 0xf4u ? 0x8fu : 0xbfu;
    return byte >= low && byte <= high;
}

/* Bytes at the start of `p` that are a character or the beginning of one: all of utf8_size() where
 * it is whole, 0 where it cannot be one. */
static inline uint32_t utf8_valid(const uint8_t *p, uint32_t size)
{
    uint32_t whole = utf8_size(p[0]), i = 1;
    if (whole > 1 && size > 1 && !utf8_second(p[0], p[1]))
        return 1;
    while (i < whole && i < size && (p[i] & 0xc0u) == 0x80u)
        i++;
    return whole ? i : 0;
}

/* The code point of a whole character of `size` bytes. */
static inline uint32_t utf8_code(const uint8_t *p, uint32_t size)
{
    uint32_t code = size == 1 ? p[0] : p[0] & (0x7fu >> size);
    for (uint32_t i = 1; i < size; i++)
        code = code << 6 | (p[i] & 0x3fu);
    return code;
}

#endif
