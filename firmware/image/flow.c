/* SPDX-License-Identifier: Apache-2.0 */
/* Values in the arena, as the program writes and reads them. */
#include "image/flow.h"
#include "gen/errors.h"

/* ---- how two of them lie ---- */

static uint64_t end_of(const struct flow_extent *e)
{
    return e->first + e->width;
}

/* All rows of both are rows of one block: the i-th of one meets no other than the i-th of the
 * other. */
static int is_aligned(const struct flow_extent *a, const struct flow_extent *b)
{
    uint64_t first = a->first < b->first ? a->first : b->first;
    uint64_t end = end_of(a) > end_of(b) ? end_of(a) : end_of(b);
    return a->stride == b->stride && end - first <= a->stride;
}

static int is_apart(const struct flow_extent *a, const struct flow_extent *b)
{
    uint64_t a_last = (a->rows - 1) * a->stride, b_last = (b->rows - 1) * b->stride;
    if (end_of(a) + a_last <= b->first || end_of(b) + b_last <= a->first)
        return 1;
    return is_aligned(a, b) && (end_of(a) <= b->first || end_of(b) <= a->first);
}

static int is_same_kind(const struct flow_extent *a, const struct flow_extent *b)
{
    return a->domain == b->domain && a->elements == b->elements;
}

static int is_same(const struct flow_extent *a, const struct flow_extent *b)
{
    return is_same_kind(a, b) && a->first == b->first && a->width == b->width &&
           a->stride == b->stride;
}

/* ---- within an op ---- */

int flow_check_op(const struct flow_extent *reads, uint32_t read_count,
                  const struct flow_extent *writes, uint32_t write_count)
{
    for (uint32_t w = 0; w < write_count; w++) {
        for (uint32_t i = 0; i < w; i++)
            if (!is_apart(&writes[w], &writes[i]))
                return E_IMAGE_OP;
        for (uint32_t r = 0; r < read_count; r++)
            if (!is_apart(&writes[w], &reads[r]) &&
                !(reads[r].in_place && is_same(&writes[w], &reads[r])))
                return E_IMAGE_OP;
    }
    return 0;
}

/* ---- between ops ---- */

/* The value that holds the first of the bytes that are `left`, as they are read. */
static const struct flow_extent *find_first(const struct flow *flow, const struct flow_extent *left)
{
    for (uint32_t i = 0; i < flow->count; i++) {
        const struct flow_extent *value = &flow->values[i];
        if (value->first <= left->first && left->first < end_of(value) &&
            is_same_kind(value, left) && is_aligned(value, left))
            return value;
    }
    return 0;
}

/* Floats may come from several values side by side; a quantized row is one. */
int flow_check_read(const struct flow *flow, const struct flow_extent *read)
{
    struct flow_extent left = *read;

    while (left.width) {
        const struct flow_extent *value = find_first(flow, &left);
        uint64_t end = end_of(&left);
        if (!value || (left.elements != FLOW_FLOATS && !is_same(value, &left)))
            return E_IMAGE_OP;
        left.first = end_of(value) < end ? end_of(value) : end;
        left.width = end - left.first;
    }
    return 0;
}

/* The part [first, end) of each row of a value. */
static int add_piece(struct flow *flow, struct flow_extent value, uint64_t first, uint64_t end)
{
    if (first >= end)
        return 0;
    if (flow->count == FLOW_VALUES)
        return E_IMAGE_LIMIT;
    value.first = first;
    value.width = end - first;
    flow->values[flow->count++] = value;
    return 0;
}

/* Columns beside what is written stay; of a quantized row, and where rows meet others, nothing. */
int flow_write(struct flow *flow, const struct flow_extent *write)
{
    for (uint32_t i = 0; i < flow->count;) {
        struct flow_extent value = flow->values[i];
        if (is_apart(&value, write)) {
            i++;
            continue;
        }
        flow->values[i] = flow->values[--flow->count];
        if (value.elements != FLOW_FLOATS || !is_aligned(&value, write))
            continue;
        if (add_piece(flow, value, value.first, write->first) ||
            add_piece(flow, value, end_of(write), end_of(&value)))
            return E_IMAGE_LIMIT;
    }
    if (write->elements == FLOW_SCRATCH)
        return 0;
    return add_piece(flow, *write, write->first, end_of(write));
}
