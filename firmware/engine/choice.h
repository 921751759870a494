/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_CHOICE_H
#define ENGINE_CHOICE_H

/* The candidates of one draw. Those that are left are a beginning of the order "logit, then lower
 * id": all logits that are at least `cut`. So nothing is ever sorted, and a pass leaves out blocks
 * of the vocabulary whose maximum is below the cut. Passes run on all harts. Weights are whole
 * numbers, whose sums depend on no order (docs/numerics.md). */

#include "common/pool.h"
#include "engine/memory.h"

#define CHOICE_BLOCK 128u

struct choice_measure {
    uint64_t weight;
    uint32_t count;
};

/* The weights are of the last choice_weigh(). */
struct choice {
    struct pool *pool;
    float *logits; /* by id; what is out and as high as the cut becomes -inf */
    uint32_t vocab;
    uint32_t blocks;   /* of CHOICE_BLOCK ids */
    float *weights;    /* by id: a whole number and a fraction, which does not count */
    float *maxima;     /* by block, or more: what they were at first */
    uint64_t *sums;    /* by block, of the last pass; then free for choice_keep() */
    uint32_t capacity; /* of sums, at least a block's each */
    uint32_t first;    /* the best candidate */
    float best;        /* its logit */
    float cut;
    /* Of the pass that runs: */
    float at;
    float factor;
    int weighing;
    struct choice_measure found[POOL_MAX_HARTS];
};

/* All are candidates. `first` is 0 where no logit is above -inf; only where `best` is finite may
 * the functions below be called. */
void choice_open(struct choice *c, struct engine *engine, float *logits);

/* Weighs the candidates by exp((logit - best) * factor) and measures them. */
struct choice_measure choice_weigh(struct choice *c, float factor);

/* Keeps the fewest candidates, from the best down, whose weights make `goal`, which is not 0; all
 * where the whole `all` does not. */
void choice_keep(struct choice *c, struct choice_measure all, uint64_t goal);

/* Keeps the best `count`, which is not 0. */
void choice_keep_count(struct choice *c, uint32_t count);

/* Keeps those with exp(logit - best) at least `least`. */
void choice_keep_least(struct choice *c, float least);

/* The candidate in which the sum of weights passes `goal`, by ids; goal is less than the whole. */
uint32_t choice_at(const struct choice *c, uint64_t goal);

#endif
