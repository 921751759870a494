/* SPDX-License-Identifier: Apache-2.0 */
/* The sampler: repetition penalty, top-k, top-p, min-p, temperature, draw, in this order.
 *
 * Candidates lie in a heap and are popped in order only as far as a stage asks, so that a draw from
 * 50,000 entries costs one pass and a few pops instead of a sort. A popped candidate goes to the
 * end of the heap's array: the i-th best stands i places before the end.
 */
#include <string.h>

#include "common/math.h"
#include "engine/philox.h"
#include "engine/memory.h"
#include "gen/errors.h"

/* ---- parameters ---- */

/* Not a number is in no range. */
static int in_range(float value, float low, float high)
{
    return value >= low && value <= high;
}

int sampler_check(const struct sampler_params *params)
{
    if (!in_range(params->temperature, 0.0f, 100.0f) || !in_range(params->top_p, 1e-6f, 1.0f) ||
        !in_range(params->min_p, 0.0f, 1.0f) || !in_range(params->repeat_penalty, 0.01f, 100.0f))
        return E_PARAMETER;
    return 0;
}

/* ---- repetition penalty ---- */

/* The candidates' memory serves as a bitmap of tokens done, for each counts once. */
static void penalize(const struct engine *engine, const struct sampler_params *params,
                     uint32_t session, float *logits)
{
    uint8_t *done = (uint8_t *)engine->candidates;
    uint32_t length = engine->sessions.all[session].length;
    uint32_t first = length > params->repeat_last ? length - params->repeat_last : 0;
    uint32_t oldest = session_oldest(&engine->sessions, session);

    if (params->repeat_penalty == 1.0f || params->repeat_last == 0)
        return;
    memset(done, 0, engine->plan.vocab / 8 + 1);
    for (uint32_t i = first > oldest ? first : oldest; i < length; i++) {
        uint32_t token = engine_token(engine, session, i), bit = 1u << token % 8;
        float logit = logits[token];
        if (done[token / 8] & bit)
            continue;
        done[token / 8] |= (uint8_t)bit;
        logits[token] =
            logit > 0.0f ? logit / params->repeat_penalty : logit * params->repeat_penalty;
    }
}

/* ---- candidates ---- */

/* Orders as (logit, then lower id) does, as one integer: the float's bits made monotonic above the
 * id's complement. Adding 0 makes -0 and +0 tie; not a number ranks as -inf. */
static uint64_t candidate_make(float logit, uint32_t id)
{
    uint32_t bits = math_to_bits(logit == logit ? logit + 0.0f : -__builtin_inff());

    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~id;
}

static uint32_t candidate_id(uint64_t candidate)
{
    return ~(uint32_t)candidate;
}

static float candidate_logit(uint64_t candidate)
{
    uint32_t bits = (uint32_t)(candidate >> 32);

    return math_from_bits(bits & 0x80000000u ? bits & 0x7FFFFFFFu : ~bits);
}

struct heap {
    uint64_t *items;
    uint32_t size;  /* not yet popped */
    uint32_t total; /* all */
};

static void heap_sift(struct heap *heap, uint32_t i)
{
    uint64_t item = heap->items[i];

    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= heap->size)
            break;
        if (child + 1 < heap->size && heap->items[child + 1] > heap->items[child])
            child++;
        if (heap->items[child] <= item)
            break;
        heap->items[i] = heap->items[child];
        i = child;
    }
    heap->items[i] = item;
}

static void heap_fill(struct heap *heap, const struct engine *engine, const float *logits)
{
    heap->items = engine->candidates;
    heap->size = heap->total = engine->plan.vocab;
    for (uint32_t i = 0; i < heap->size; i++)
        heap->items[i] = candidate_make(logits[i], i);
    for (uint32_t i = heap->size / 2; i-- > 0;)
        heap_sift(heap, i);
}

/* The rank-th best candidate, 0 the best; pops as far as it must. */
static uint64_t heap_at(struct heap *heap, uint32_t rank)
{
    while (heap->total - heap->size <= rank) {
        uint64_t top = heap->items[0];
        heap->size--;
        heap->items[0] = heap->items[heap->size];
        heap_sift(heap, 0);
        heap->items[heap->size] = top;
    }
    return heap->items[heap->total - 1 - rank];
}

/* ---- probabilities ---- */

/* exp((logit - best) / temperature): 1 for the best, 0 for -inf and where both are infinite. */
static float weigh(float logit, float best, float temperature)
{
    float d = (logit - best) / temperature;

    return d > -100.0f ? math_exp(d) : 0.0f;
}

struct choice {
    struct heap heap;
    const float *logits; /* by id */
    float best;          /* highest logit */
    uint32_t count;      /* the best so many candidates are left */
};

/* In the reductions' 32 lanes (docs/numerics.md): one running sum over a vocabulary would lose the
 * small. */
static float weigh_vocabulary(const struct choice *c, float temperature)
{
    float lanes[32] = {0};

    for (uint32_t i = 0; i < c->heap.total; i++)
        lanes[i % 32] += weigh(c->logits[i], c->best, temperature);
    for (uint32_t half = 16; half > 0; half /= 2)
        for (uint32_t j = 0; j < half; j++)
            lanes[j] += lanes[j + half];
    return lanes[0];
}

/* Sum of the weights of all that are left; where some are not, from the best down. */
static float weigh_all(struct choice *c, float temperature)
{
    float sum = 0.0f;

    if (c->count == c->heap.total)
        return weigh_vocabulary(c, temperature);
    for (uint32_t i = 0; i < c->count; i++)
        sum += weigh(candidate_logit(heap_at(&c->heap, i)), c->best, temperature);
    return sum;
}

/* The fewest candidates from the best down that hold at least `share` of the weight. */
static void keep_share(struct choice *c, float share)
{
    float goal = share * weigh_all(c, 1.0f), sum = 0.0f;

    for (uint32_t i = 0; i < c->count; i++) {
        sum += weigh(candidate_logit(heap_at(&c->heap, i)), c->best, 1.0f);
        if (sum >= goal)
            c->count = i + 1;
    }
}

/* Those at least `least` as probable as the best. */
static void keep_least(struct choice *c, float least)
{
    uint32_t i = 1;

    while (i < c->count && weigh(candidate_logit(heap_at(&c->heap, i)), c->best, 1.0f) >= least)
        i++;
    c->count = i;
}

/* Uniform in [0, 1), a multiple of 2^-24: exact in a float. */
static float draw_uniform(uint64_t seed, uint32_t position)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {position, 0, 0, 0};
    uint32_t out[4];

    philox_block(key, counter, out);
    return (float)(out[0] >> 8) * 0x1p-24f;
}

/* Walks from the best down until the sum passes the draw; rounding may leave it short at the end.
 */
static uint32_t draw_token(struct choice *c, float temperature, float uniform)
{
    uint32_t token = candidate_id(heap_at(&c->heap, 0));
    float goal, sum = 0.0f;

    goal = uniform * weigh_all(c, temperature);
    for (uint32_t i = 0; i < c->count; i++) {
        uint64_t candidate = heap_at(&c->heap, i);
        float weight = weigh(candidate_logit(candidate), c->best, temperature);
        if (!(weight > 0.0f))
            break;
        token = candidate_id(candidate);
        sum += weight;
        if (sum > goal)
            break;
    }
    return token;
}

uint32_t engine_sample(struct engine *engine, const struct sampler_params *params, uint32_t session,
                       float *logits)
{
    struct choice c;

    penalize(engine, params, session, logits);
    if (params->temperature == 0.0f)
        return kernels.argmax(logits, engine->plan.vocab);
    heap_fill(&c.heap, engine, logits);
    c.logits = logits;
    c.best = candidate_logit(heap_at(&c.heap, 0));
    c.count = c.heap.total;
    if (params->top_k && params->top_k < c.count)
        c.count = params->top_k;
    if (params->top_p < 1.0f)
        keep_share(&c, params->top_p);
    if (params->min_p > 0.0f)
        keep_least(&c, params->min_p);
    return draw_token(&c, params->temperature,
                      draw_uniform(params->seed, engine->sessions.all[session].length));
}
