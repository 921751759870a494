/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/choice.h"

#include "common/math.h"
#include "kernels/kernels.h"

/* So many candidates are put in order rather than measured once more. */
#define FEW 256u

/* So often the cut is aimed at before the floats between are halved. */
#define AIMS 24u

/* The weight of one that is as likely as the best. */
#define ONE 0x1p40f

/* ---- floats as integers that order as they do ---- */

/* Adding 0 makes -0 and +0 tie; not a number ranks as -inf. */
static uint32_t key_make(float logit)
{
    uint32_t bits = math_to_bits(logit == logit ? logit + 0.0f : -__builtin_inff());

    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float key_logit(uint32_t key)
{
    return math_from_bits(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

/* ---- a heap of candidates: a logit's key, then the id's complement ---- */

static void heap_sift(uint64_t *items, uint32_t size, uint32_t i)
{
    uint64_t item = items[i];

    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= size)
            break;
        if (child + 1 < size && items[child + 1] > items[child])
            child++;
        if (items[child] <= item)
            break;
        items[i] = items[child];
        i = child;
    }
    items[i] = item;
}

static void heap_make(uint64_t *items, uint32_t size)
{
    for (uint32_t i = size / 2; i-- > 0;)
        heap_sift(items, size, i);
}

static uint64_t heap_pop(uint64_t *items, uint32_t *size)
{
    uint64_t top = items[0];

    items[0] = items[--*size];
    heap_sift(items, *size, 0);
    return top;
}

static uint64_t heap_item(float logit, uint32_t id)
{
    return (uint64_t)key_make(logit) << 32 | (uint32_t)~id;
}

/* ---- passes: harts take blocks in turns, for the likely tokens have low ids ---- */

static uint32_t block_end(const struct choice *c, uint32_t block)
{
    uint32_t end = (block + 1) * CHOICE_BLOCK;

    return end < c->vocab ? end : c->vocab;
}

static void find_maxima(void *context, uint32_t hart, uint32_t harts)
{
    struct choice *c = context;

    for (uint32_t b = hart; b < c->blocks; b += harts) {
        const float *x = c->logits + b * CHOICE_BLOCK;
        c->maxima[b] = x[kernels.argmax(x, block_end(c, b) - b * CHOICE_BLOCK)];
    }
}

static void measure_blocks(void *context, uint32_t hart, uint32_t harts)
{
    struct choice *c = context;
    struct choice_measure all = {0, 0};
    float at = c->at;

    for (uint32_t b = hart; b < c->blocks; b += harts) {
        uint32_t first = b * CHOICE_BLOCK, n = block_end(c, b) - first;
        c->sums[b] = 0;
        if (!(c->maxima[b] >= at))
            continue;
        if (c->weighing)
            kernels.weigh(c->logits + first, n, c->best, c->factor, c->weights + first);
        c->sums[b] = kernels.measure(c->logits + first, c->weights + first, n, at, &all.count);
        all.weight += c->sums[b];
    }
    c->found[hart] = all;
}

static struct choice_measure measure(struct choice *c, float at)
{
    struct choice_measure all = {0, 0};

    c->at = at;
    pool_run(c->pool, measure_blocks, c);
    for (uint32_t i = 0; i < c->pool->port->harts; i++) {
        all.weight += c->found[i].weight;
        all.count += c->found[i].count;
    }
    return all;
}

void choice_open(struct choice *c, struct engine *engine, float *logits)
{
    float most = -__builtin_inff();
    uint32_t best = 0;

    c->pool = engine->port->pool;
    c->logits = logits;
    c->vocab = engine->plan.vocab;
    c->blocks = (c->vocab + CHOICE_BLOCK - 1) / CHOICE_BLOCK;
    c->weights = (float *)(void *)engine->choice;
    c->maxima = c->weights + c->vocab;
    uint32_t used = (c->vocab + c->blocks + 1) / 2;
    c->sums = engine->choice + used;
    c->capacity = (c->vocab + 7) / 8 * 8 - used;
    pool_run(c->pool, find_maxima, c);
    for (uint32_t b = 0; b < c->blocks; b++) {
        if (c->maxima[b] > most) {
            most = c->maxima[b];
            best = b;
        }
    }
    c->first = best * CHOICE_BLOCK;
    c->first += kernels.argmax(logits + c->first, block_end(c, best) - c->first);
    c->best = logits[c->first];
    c->cut = -__builtin_inff();
}

struct choice_measure choice_weigh(struct choice *c, float factor)
{
    struct choice_measure all;

    c->factor = factor;
    c->weighing = 1;
    all = measure(c, c->cut);
    c->weighing = 0;
    return all;
}

/* ---- where the cut must be ---- */

/* The cut is at a key from `low` on and below `high`. */
struct bracket {
    uint32_t low, high;
    struct choice_measure at_low, at_high; /* of all above: at least the goal, and less */
};

static int is_wide(const struct choice *c, const struct bracket *b)
{
    uint32_t few = c->capacity < FEW ? c->capacity : FEW;

    return b->at_low.count - b->at_high.count > few && b->high - b->low > 1;
}

static void narrow(struct choice *c, struct bracket *b, uint32_t key, uint64_t goal)
{
    struct choice_measure above = measure(c, key_logit(key));

    if (above.weight >= goal) {
        b->low = key;
        b->at_low = above;
    } else {
        b->high = key;
        b->at_high = above;
    }
}

/* How far the blocks' maxima spread, as a scale of the logits: any number above 0, or infinity. */
static float spread_of(const struct choice *c)
{
    float least = c->best;

    for (uint32_t b = 0; b < c->blocks; b++)
        if (c->maxima[b] >= c->cut && c->maxima[b] < least)
            least = c->maxima[b];
    return least < c->best ? c->best - least : 1.0f;
}

/* From the best down in growing steps: little lies above the first ones, and costs little. */
static void reach_down(struct choice *c, struct bracket *b, uint64_t goal)
{
    float step = spread_of(c) * 0.0625f;

    for (float reach = 0.0f; is_wide(c, b); reach = reach * 2.0f + step) {
        uint32_t key = key_make(c->best - reach);
        if (key >= b->high)
            continue;
        if (key <= b->low)
            break;
        narrow(c, b, key, goal);
        if (b->low == key)
            break;
    }
}

/* The key between the bracket's that has `part` of its weights above it, were these spread evenly
 * over its values. */
static uint32_t key_between(const struct bracket *b, float part)
{
    float low = key_logit(b->low), high = key_logit(b->high);
    uint32_t key = key_make(high - (high - low) * part);

    key = key > b->low ? key : b->low + 1;
    return key < b->high ? key : b->high - 1;
}

/* In turns it aims a little below where the cut should be, a little above it, so that few lie
 * between the two, and halves the values; at last it halves the floats, which is sure to end. */
static void close_in(struct choice *c, struct bracket *b, uint64_t goal)
{
    for (uint32_t turn = 0; is_wide(c, b); turn++) {
        float weight = (float)(b->at_low.weight - b->at_high.weight);
        float part = (float)(goal - b->at_high.weight) / weight;
        float aside = 0.4f * FEW / (float)(b->at_low.count - b->at_high.count);
        float parts[3] = {part + aside, part - aside, 0.5f};
        uint32_t key = b->low + (b->high - b->low) / 2;
        if (turn < AIMS)
            key = key_between(b, parts[turn % 3]);
        narrow(c, b, key, goal);
    }
}

/* ---- the cut ---- */

/* A bracket of few: in order until the goal is made. Those as high as the last, but behind it, are
 * out. */
static void cut_few(struct choice *c, const struct bracket *b, uint64_t goal)
{
    float low = key_logit(b->low), high = key_logit(b->high);
    uint64_t weight = b->at_high.weight, *heap = c->sums;
    uint32_t size = 0;

    for (uint32_t block = 0; block < c->blocks; block++) {
        if (!(c->maxima[block] >= low))
            continue;
        uint32_t ids[CHOICE_BLOCK], first = block * CHOICE_BLOCK;
        uint32_t n = kernels.find(c->logits + first, block_end(c, block) - first, low, high, ids);
        for (uint32_t i = 0; i < n; i++)
            heap[size++] = heap_item(c->logits[first + ids[i]], first + ids[i]);
    }
    heap_make(heap, size);
    while (size && weight < goal) {
        uint32_t id = ~(uint32_t)heap_pop(heap, &size);
        weight += (uint64_t)c->weights[id];
        c->cut = c->logits[id];
    }
    while (size && key_logit((uint32_t)(heap[0] >> 32)) == c->cut)
        c->logits[~(uint32_t)heap_pop(heap, &size)] = -__builtin_inff();
}

/* The ids of a block below which the ties make the goal, -inf for the others. */
static uint64_t cut_block(struct choice *c, uint32_t block, uint64_t weight, uint64_t goal)
{
    uint32_t ids[CHOICE_BLOCK], first = block * CHOICE_BLOCK;
    uint32_t n = kernels.find(c->logits + first, block_end(c, block) - first, c->cut,
                              key_logit(key_make(c->cut) + 1), ids);

    for (uint32_t i = 0; i < n; i++) {
        if (weight >= goal)
            c->logits[first + ids[i]] = -__builtin_inff();
        else
            weight += (uint64_t)c->weights[first + ids[i]];
    }
    return weight;
}

/* A bracket of one value, however often: the lowest ids make the goal. A block of nothing else is
 * out by its maximum. */
static void cut_ties(struct choice *c, const struct bracket *b, uint64_t goal)
{
    uint64_t weight = b->at_high.weight;

    c->cut = key_logit(b->low);
    for (uint32_t block = 0; block < c->blocks; block++) {
        if (!(c->maxima[block] >= c->cut))
            continue;
        if (weight >= goal && c->maxima[block] == c->cut)
            c->maxima[block] = -__builtin_inff();
        else
            weight = cut_block(c, block, weight, goal);
    }
}

void choice_keep(struct choice *c, struct choice_measure all, uint64_t goal)
{
    struct bracket b = {key_make(c->cut), key_make(c->best) + 1, all, {0, 0}};

    if (all.weight < goal)
        return;
    reach_down(c, &b, goal);
    close_in(c, &b, goal);
    if (b.high - b.low == 1)
        cut_ties(c, &b, goal);
    else
        cut_few(c, &b, goal);
}

/* The count-th of the blocks' maxima: as many candidates are at least as high. */
static float bound_of(struct choice *c, uint32_t count)
{
    uint64_t *heap = c->sums, item = 0;
    uint32_t size = c->blocks;

    if (count > c->blocks)
        return c->cut;
    for (uint32_t b = 0; b < c->blocks; b++)
        heap[b] = heap_item(c->maxima[b], b);
    heap_make(heap, size);
    while (count--)
        item = heap_pop(heap, &size);
    return key_logit((uint32_t)(item >> 32));
}

/* A factor of 0 makes all weights ONE. */
void choice_keep_count(struct choice *c, uint32_t count)
{
    c->cut = bound_of(c, count);
    choice_keep(c, choice_weigh(c, 0.0f), (uint64_t)ONE * count);
}

/* Weights never rise as logits fall (tests/unit/test_functions.py), so the lowest logit that is
 * likely enough is found by halving the floats. */
void choice_keep_least(struct choice *c, float least)
{
    uint32_t low = key_make(c->cut), high = key_make(c->best);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        float logit = key_logit(middle), weight;
        kernels.weigh(&logit, 1, c->best, 1.0f, &weight);
        if (weight >= least * ONE)
            high = middle;
        else
            low = middle + 1;
    }
    c->cut = key_logit(high);
}

uint32_t choice_at(const struct choice *c, uint64_t goal)
{
    uint32_t block = 0, i;

    for (; goal >= c->sums[block]; block++)
        goal -= c->sums[block];
    for (i = block * CHOICE_BLOCK;; i++) {
        uint64_t weight = c->logits[i] >= c->cut ? (uint64_t)c->weights[i] : 0;
        if (goal < weight)
            return i;
        goal -= weight;
    }
}
