/* SPDX-License-Identifier: Apache-2.0 */
/* The four functions that a freestanding compiler may call. Words where both sides allow it. */
#include <stdint.h>
#include <string.h>

#define WORD      sizeof(uint64_t)
#define BYTE_ONES 0x0101010101010101u

/* Words that may lie over objects of any type. */
typedef uint64_t __attribute__((may_alias)) word;

static size_t head_bytes(const void *at, size_t size)
{
    size_t head = -(uintptr_t)at % WORD;
    return head < size ? head : size;
}

static void copy_up(uint8_t *d, const uint8_t *s, size_t size)
{
    if (((uintptr_t)d ^ (uintptr_t)s) % WORD == 0) {
        for (size_t head = head_bytes(d, size); head; head--, size--)
            *d++ = *s++;
        for (; size >= WORD; size -= WORD, d += WORD, s += WORD)
            *(word *)d = *(const word *)s;
    }
    for (; size; size--)
        *d++ = *s++;
}

static void copy_down(uint8_t *d, const uint8_t *s, size_t size)
{
    d += size;
    s += size;
    if (((uintptr_t)d ^ (uintptr_t)s) % WORD == 0) {
        for (; size && (uintptr_t)d % WORD; size--)
            *--d = *--s;
        for (; size >= WORD; size -= WORD) {
            d -= WORD;
            s -= WORD;
            *(word *)d = *(const word *)s;
        }
    }
    for (; size; size--)
        *--d = *--s;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    copy_up(to, from, size);
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    if ((uintptr_t)to - (uintptr_t)from >= size)
        copy_up(to, from, size);
    else
        copy_down(to, from, size);
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *d = to;
    uint64_t words = BYTE_ONES * (uint8_t)value;
    for (size_t head = head_bytes(d, size); head; head--, size--)
        *d++ = (uint8_t)value;
    /* Eight words a turn: start-up clears megabytes. */
    for (; size >= 8 * WORD; size -= 8 * WORD, d += 8 * WORD)
        for (size_t i = 0; i < 8; i++)
            ((word *)d)[i] = words;
    for (; size >= WORD; size -= WORD, d += WORD)
        *(word *)d = words;
    for (; size; size--)
        *d++ = (uint8_t)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *p = a, *q = b;
    for (; size; size--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}
