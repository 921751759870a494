/* SPDX-License-Identifier: Apache-2.0 */
/* SentencePiece's own table of normalization, as the host's library applies it: a grapheme cluster
 * of less than CLUSTER_BYTES becomes as a whole what the shortest beginning of it becomes that the
 * table has; without such a beginning, and in longer clusters, each character does.
 *
 * The table: u32 bytes of the classes; the characters' classes, as an automaton without states,
 * of which `enum` has the numbers; u32 count; u32 key[count + 1], value[count + 1]: where in the
 * bytes behind them texts begin and end, keys ascending.
 */
#include <string.h>

#include "tokenizer/characters.h"
#include "tokenizer/parts.h"
#include "tokenizer/steps.h"

#define CLUSTER_BYTES 6u

/* The classes of Unicode Standard Annex 29 that clusters of few bytes depend on. */
enum { OTHER, CONTROL, CR, LF, EXTEND, JOINER, PREPEND, PICTURE, FIRST, VOWEL, LAST, OPEN, CLOSED };

struct keys {
    uint32_t count;
    const uint8_t *keys, *values, *bytes;
};

static struct keys keys_of(const struct tokenizer_step *step)
{
    const uint8_t *at = step->table.at + 4 + le_u32(step->table.at);
    uint32_t count = le_u32(at);
    return (struct keys){count, at + 4, at + 8 + 4u * count, at + 12 + 8u * count};
}

static struct tokenizer_text text_of(const struct keys *k, const uint8_t *offsets, uint32_t i)
{
    uint32_t from = le_u32(offsets + 4u * i);
    return (struct tokenizer_text){k->bytes + from, le_u32(offsets + 4u * i + 4u) - from};
}

static int offsets_are_good(const uint8_t *offsets, uint32_t count, uint32_t bytes)
{
    for (uint32_t i = 0; i <= count; i++) {
        uint32_t offset = le_u32(offsets + 4u * i);
        if (offset > bytes || (i && offset < le_u32(offsets + 4u * i - 4u)))
            return 0;
    }
    return 1;
}

static int check_step(const struct tokenizer_step *step)
{
    struct tokenizer_text table = step->table;
    if (table.size < 8u || le_u32(table.at) > table.size - 8u)
        return 0;
    uint32_t size = le_u32(table.at), left = table.size - 8u - size;
    uint32_t count = le_u32(table.at + 4 + size);
    if (!automaton_check((struct tokenizer_text){table.at + 4, size}))
        return 0;
    if (left < 8u || count > (left - 8u) / 8u)
        return 0;
    struct keys k = keys_of(step);
    left -= 8u + 8u * count;
    if (!offsets_are_good(k.keys, count, left) || !offsets_are_good(k.values, count, left))
        return 0;
    for (uint32_t i = 1; i < count; i++)
        if (tokenizer_compare(text_of(&k, k.keys, i - 1), text_of(&k, k.keys, i)) >= 0)
            return 0;
    return 1;
}

static int find_key(const struct keys *k, struct tokenizer_text key, struct tokenizer_text *value)
{
    uint32_t low = 0, high = k->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = tokenizer_compare(text_of(k, k->keys, middle), key);
        if (!order) {
            *value = text_of(k, k->values, middle);
            return 1;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

/* What the shortest beginning becomes that the table has. */
static int find_beginning(const struct keys *k, struct tokenizer_text text,
                          struct tokenizer_text *value)
{
    for (uint32_t size = 1; size <= text.size; size++)
        if (find_key(k, (struct tokenizer_text){text.at, size}, value))
            return 1;
    return 0;
}

static int hangul_joins(uint32_t before, uint32_t next)
{
    if (before == FIRST)
        return next == FIRST || next == VOWEL || next == OPEN || next == CLOSED;
    if (before == VOWEL || before == OPEN)
        return next == VOWEL || next == LAST;
    return (before == LAST || before == CLOSED) && next == LAST;
}

/* `picture`: before the joiner that is `before` stands a picture, and what extends it. */
static int joins(uint32_t before, uint32_t next, int picture)
{
    if (before == CR)
        return next == LF;
    if (before <= LF && before != OTHER)
        return 0;
    if (next <= LF && next != OTHER)
        return 0;
    if (next == EXTEND || next == JOINER || before == PREPEND)
        return 1;
    if (before == JOINER && next == PICTURE)
        return picture;
    return hangul_joins(before, next);
}

static uint32_t cluster_size(const uint8_t *classes, struct tokenizer_text text)
{
    struct character c = character_at(text.at, text.size);
    uint32_t size = c.size, before = automaton_class(classes, c.code);
    int picture = before == PICTURE;
    while (size < text.size) {
        c = character_at(text.at + size, text.size - size);
        uint32_t next = automaton_class(classes, c.code);
        if (!joins(before, next, picture))
            break;
        picture = next == PICTURE || (picture && (next == EXTEND || next == JOINER));
        before = next;
        size += c.size;
    }
    return size;
}

static void put_characters(const struct keys *k, struct tokenizer_text text,
                           struct tokenizer_buffer *out)
{
    struct tokenizer_text value;
    for (uint32_t at = 0; at < text.size;) {
        struct tokenizer_text one = {text.at + at, character_at(text.at + at, text.size - at).size};
        buffer_put(out, find_beginning(k, one, &value) ? value : one);
        at += one.size;
    }
}

static void run_step(const struct tokenizer_step *step, struct tokenizer_piece piece,
                     struct tokenizer_buffer *out)
{
    struct keys k = keys_of(step);
    struct tokenizer_text left = piece.text, value;
    while (left.size) {
        struct tokenizer_text cluster = {left.at, cluster_size(step->table.at + 4, left)};
        if (cluster.size < CLUSTER_BYTES && find_beginning(&k, cluster, &value))
            buffer_put(out, value);
        else
            put_characters(&k, cluster, out);
        left.at += cluster.size;
        left.size -= cluster.size;
    }
}

const struct tokenizer_step_kind tokenizer_step_clusters = {step_knows_none, check_step, run_step};
