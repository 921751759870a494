/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens that are found in a text before anything else: sorted once, then looked up by halves.
 *
 * All tokens that a text begins with are beginnings of the last one that is sorted before the text
 * or equals it: what lies between a beginning and the text begins alike. So one search finds that
 * one, and links from a token to the longest other one that it begins with lead to the answer.
 */
#include <string.h>

#include "tokenizer/parts.h"

#define NONE TOKENIZER_NONE

_Static_assert(LIMIT_ADDED <= NONE, "places are 16 bits wide");

static const uint8_t *record(const struct tokenizer *t, uint32_t i)
{
    return t->added + i * t->added_size;
}

static struct tokenizer_text record_text(const struct tokenizer *t, uint32_t i)
{
    const uint8_t *added = record(t, i);
    if (t->section == IMAGE_SECTION_ID_BPE)
        return tokenizer_bytes(t, image_bpe_added_id(added));
    return (struct tokenizer_text){t->added_text.at + image_token_added_offset(added),
                                   image_token_added_size(added)};
}

/* Both records begin alike. */
uint32_t tokenizer_added_id(const struct tokenizer *t, uint16_t place)
{
    return image_bpe_added_id(record(t, t->added_order[place]));
}

uint32_t tokenizer_added_flags(const struct tokenizer *t, uint16_t place)
{
    return image_bpe_added_flags(record(t, t->added_order[place]));
}

struct tokenizer_text tokenizer_added_text(const struct tokenizer *t, uint16_t place)
{
    return record_text(t, t->added_order[place]);
}

static uint32_t is_normalized(const struct tokenizer *t, uint32_t i)
{
    return image_bpe_added_flags(record(t, i)) & IMAGE_TOKEN_FLAG_NORMALIZED;
}

/* ---- sorting, by heap: it takes no memory and no more steps in the worst case ---- */

/* By set and text; equal ones as they stand in the image. */
static int is_before(const struct tokenizer *t, uint16_t a, uint16_t b)
{
    if (is_normalized(t, a) != is_normalized(t, b))
        return is_normalized(t, a) < is_normalized(t, b);
    int order = tokenizer_compare(record_text(t, a), record_text(t, b));
    return order ? order < 0 : a < b;
}

static void sift(struct tokenizer *t, uint32_t at, uint32_t count)
{
    uint16_t *order = t->added_order, moved = order[at];
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && is_before(t, order[child], order[child + 1]))
            child++;
        if (!is_before(t, moved, order[child]))
            break;
        order[at] = order[child];
        at = child;
    }
    order[at] = moved;
}

static void sort(struct tokenizer *t)
{
    uint32_t count = t->added_count;
    for (uint32_t i = 0; i < count; i++)
        t->added_order[i] = (uint16_t)i;
    for (uint32_t i = count / 2; i-- > 0;)
        sift(t, i, count);
    while (count > 1) {
        uint16_t last = t->added_order[--count];
        t->added_order[count] = t->added_order[0];
        t->added_order[0] = last;
        sift(t, 0, count);
    }
}

/* ---- links ---- */

static int begins_with(struct tokenizer_text text, struct tokenizer_text begin)
{
    return begin.size <= text.size && !memcmp(text.at, begin.at, begin.size);
}

/* To the longest other token of its set that it begins with; of equal ones to the first of them. */
static uint16_t find_link(const struct tokenizer *t, struct tokenizer_set set, uint32_t place)
{
    struct tokenizer_text text = tokenizer_added_text(t, (uint16_t)place);
    if (place == set.from)
        return NONE;
    uint16_t at = (uint16_t)(place - 1);
    if (!tokenizer_compare(tokenizer_added_text(t, at), text)) {
        uint16_t first = t->added_link[at];
        return first != NONE && tokenizer_added_text(t, first).size == text.size ? first : at;
    }
    while (at != NONE && !begins_with(text, tokenizer_added_text(t, at)))
        at = t->added_link[at];
    return at;
}

static void link_set(struct tokenizer *t, struct tokenizer_set set)
{
    for (uint32_t i = set.from; i < set.to; i++)
        t->added_link[i] = find_link(t, set, i);
}

void tokenizer_sort_added(struct tokenizer *t)
{
    uint32_t raw = 0;
    sort(t);
    while (raw < t->added_count && !is_normalized(t, t->added_order[raw]))
        raw++;
    t->raw = (struct tokenizer_set){0, raw};
    t->normalized = (struct tokenizer_set){raw, t->added_count};
    link_set(t, t->raw);
    link_set(t, t->normalized);
}

/* ---- looking up ---- */

/* The first place of a set that is not sorted before `text`, or with `equal` behind it. */
static uint32_t place_of(const struct tokenizer *t, struct tokenizer_set set,
                         struct tokenizer_text text, int equal)
{
    uint32_t low = set.from, high = set.to;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (tokenizer_compare(tokenizer_added_text(t, (uint16_t)middle), text) < equal)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t common_size(struct tokenizer_text a, struct tokenizer_text b)
{
    uint32_t i = 0;
    while (i < a.size && i < b.size && a.at[i] == b.at[i])
        i++;
    return i;
}

uint16_t tokenizer_find_added(const struct tokenizer *t, struct tokenizer_set set,
                              struct tokenizer_text text)
{
    uint32_t behind = place_of(t, set, text, 1);
    if (behind == set.from)
        return NONE;
    uint16_t place = (uint16_t)(behind - 1);
    uint32_t common = common_size(tokenizer_added_text(t, place), text);
    while (place != NONE && tokenizer_added_text(t, place).size > common)
        place = t->added_link[place];
    if (place == NONE)
        return NONE;
    uint16_t first = t->added_link[place];
    int again =
        first != NONE && tokenizer_added_text(t, first).size == tokenizer_added_text(t, place).size;
    return again ? first : place;
}

/* TOKENS has them ascending by id. */
static int is_special_by_id(const struct tokenizer *t, uint32_t id)
{
    uint32_t low = 0, high = t->added_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const uint8_t *added = record(t, middle);
        if (image_token_added_id(added) == id)
            return (image_token_added_flags(added) & IMAGE_TOKEN_FLAG_SPECIAL) != 0;
        if (image_token_added_id(added) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

int tokenizer_is_special(const struct tokenizer *t, uint32_t id)
{
    struct tokenizer_text text = tokenizer_bytes(t, id);
    if (t->section == IMAGE_SECTION_ID_TOKENS)
        return is_special_by_id(t, id);
    for (uint32_t i = place_of(t, t->raw, text, 0); i < t->added_count; i++) {
        uint16_t place = (uint16_t)i;
        if (tokenizer_compare(tokenizer_added_text(t, place), text))
            return 0;
        if (tokenizer_added_id(t, place) == id &&
            tokenizer_added_flags(t, place) & IMAGE_ADDED_FLAG_SPECIAL)
            return 1;
    }
    return 0;
}
