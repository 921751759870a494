/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens that are found in a text before anything else: sorted once, then looked up by halves.
 *
 * All tokens that a text begins with are beginnings of the last one that is sorted before the text
 * or equals it: what lies between a beginning and the text begins alike. So one search finds that
 * one, and links from a token to the longest other one that it begins with lead to the answer.
 */
#include <string.h>

#include "tokenizer/tokenizer.h"

#define NONE UINT16_MAX

_Static_assert(LIMIT_ADDED <= NONE, "places are 16 bits wide");

static uint32_t added_id(const struct tokenizer *t, uint32_t place)
{
    return image_bpe_added_id(t->added + t->added_order[place] * IMAGE_BPE_ADDED_SIZE);
}

static struct tokenizer_text added_text(const struct tokenizer *t, uint32_t place)
{
    return tokenizer_bytes(t, added_id(t, place));
}

/* ---- sorting, by heap: it takes no memory and no more steps in the worst case ---- */

/* By text; equal ones as they stand in the image. */
static int is_before(const struct tokenizer *t, uint16_t a, uint16_t b)
{
    uint32_t a_id = image_bpe_added_id(t->added + a * IMAGE_BPE_ADDED_SIZE);
    uint32_t b_id = image_bpe_added_id(t->added + b * IMAGE_BPE_ADDED_SIZE);
    int order = tokenizer_compare(tokenizer_bytes(t, a_id), tokenizer_bytes(t, b_id));
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

/* To the longest other token that it begins with; of equal ones to the first of them. */
static uint16_t find_link(const struct tokenizer *t, uint32_t place)
{
    struct tokenizer_text text = added_text(t, place);
    if (!place)
        return NONE;
    uint16_t at = (uint16_t)(place - 1);
    if (!tokenizer_compare(added_text(t, at), text)) {
        uint16_t first = t->added_link[at];
        return first != NONE && added_text(t, first).size == text.size ? first : at;
    }
    while (at != NONE && !begins_with(text, added_text(t, at)))
        at = t->added_link[at];
    return at;
}

void tokenizer_sort_added(struct tokenizer *t)
{
    sort(t);
    for (uint32_t i = 0; i < t->added_count; i++)
        t->added_link[i] = find_link(t, i);
}

/* ---- looking up ---- */

/* How many are sorted before `text`, or with `equal` before it and equal to it. */
static uint32_t count_before(const struct tokenizer *t, struct tokenizer_text text, int equal)
{
    uint32_t low = 0, high = t->added_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (tokenizer_compare(added_text(t, middle), text) < equal)
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

uint32_t tokenizer_find_added(const struct tokenizer *t, const uint8_t *at, uint32_t size)
{
    struct tokenizer_text text = {at, size};
    uint32_t before = count_before(t, text, 1);
    if (!before)
        return IMAGE_NO_TENSOR;
    uint16_t place = (uint16_t)(before - 1);
    uint32_t common = common_size(added_text(t, place), text);
    while (place != NONE && added_text(t, place).size > common)
        place = t->added_link[place];
    if (place == NONE)
        return IMAGE_NO_TENSOR;
    uint16_t first = t->added_link[place];
    int again = first != NONE && added_text(t, first).size == added_text(t, place).size;
    return added_id(t, again ? first : place);
}

int tokenizer_is_special(const struct tokenizer *t, uint32_t id)
{
    struct tokenizer_text text = tokenizer_bytes(t, id);
    for (uint32_t i = count_before(t, text, 0); i < t->added_count; i++) {
        const uint8_t *added = t->added + t->added_order[i] * IMAGE_BPE_ADDED_SIZE;
        if (tokenizer_compare(added_text(t, i), text))
            return 0;
        if (added_id(t, i) == id && image_bpe_added_flags(added) & IMAGE_ADDED_FLAG_SPECIAL)
            return 1;
    }
    return 0;
}
