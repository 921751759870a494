/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_OP_H
#define IMAGE_OP_H

/* Ops as the executor runs them: decoded from the program and validated once by engine_load().
 *
 * Every pointer, stride, shape and index here has been checked against the image and the arena for
 * max_rows (or max_logit_rows) rows, so an op checks nothing and cannot fail. What it indexes with
 * data (token, position) was bounded by engine_step().
 *
 * An op function is called on every hart at once and takes its own share of the work by (hart,
 * harts). The executor puts a barrier between ops; an op that needs one within itself calls
 * pool_barrier(step->pool, hart), which it must then do on every hart. Results must not depend on
 * harts.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"
#include "gen/image_format.h"
#include "kernels/kernels.h"

/* ---- the step ---- */

struct pool;

struct step_row {
    uint32_t session;
    uint32_t position;
    uint32_t token; /* below the vocabulary's size */
};

/* Keys and values of one layer. A page holds 64 positions of all KV heads; what lies where within a
 * page is known to kv_store and attention alone (its size is page_bytes() of host/schema/image.py).
 */
struct step_state {
    uint32_t format; /* IMAGE_FORMAT_F32 or IMAGE_FORMAT_KV8 */
    uint32_t kv_heads;
    uint32_t head_dim; /* a multiple of 8, at most LIMIT_HEAD_DIM */
    uint32_t window;   /* positions attended to, the row's own included; 0: all */
    uint32_t sinks;    /* positions at the start that stay attended to */
    uint32_t sink_pages;
    uint32_t pages; /* entries of a session in `table` */
    uint32_t page_bytes;
    uint32_t *table; /* [sessions][pages]: page numbers in the pool */
};

struct step {
    const struct step_row *rows; /* ascending positions within a session */
    uint32_t row_count;
    const uint32_t *logit_rows; /* which of rows want logits, ascending */
    uint32_t logit_count;
    const struct step_state *states;
    uint8_t *pages; /* of all states and sessions, 64-byte aligned */
    uint64_t page_stride;
    struct pool *pool; /* of the harts that run it */
    uint8_t *packed;   /* LIMIT_PACKED_BYTES that all harts share within an op, 64-byte aligned */
};

/* How many rows an op of this domain has: all, or those whose logits are wanted. May be 0. */
static inline uint32_t step_count(const struct step *step, uint32_t domain)
{
    return domain ? step->logit_count : step->row_count;
}

/* Index of a position's page in the session's table: a ring behind the sinks' pages. */
static inline uint32_t step_page_index(const struct step_state *state, uint32_t position)
{
    uint32_t page = position / IMAGE_PAGE_TOKENS;
    if (page < state->pages)
        return page;
    return state->sink_pages + (page - state->sink_pages) % (state->pages - state->sink_pages);
}

/* The page that holds `position` of the session; 64-byte aligned. */
static inline uint8_t *step_page(const struct step *step, const struct step_state *state,
                                 uint32_t session, uint32_t position)
{
    const uint32_t *table = state->table + (size_t)session * state->pages;
    return step->pages + table[step_page_index(state, position)] * step->page_stride;
}

/* ---- operands ---- */

/* Of a struct that lies in the bytes of an op's body, which C lets no other type look at. What a
 * kernel gets a pointer to (a kernel_weight) is copied out of the body first. Fields are loaded
 * again after each store, so an inner loop wants them in variables. */
#define OP_BODY __attribute__((may_alias))

/* Rows of f32 in the arena; base is NULL for an operand that is not there. Rows are 4-byte aligned
 * (64 where the operand starts at column 0). */
struct OP_BODY op_f32 {
    float *base;
    size_t stride; /* floats from row to row */
};

/* Rows of Q8A in the arena, 64-byte aligned. */
struct OP_BODY op_q8a {
    uint8_t *base;
    size_t stride;   /* bytes from row to row */
    uint32_t scales; /* bytes from the row's start to its scales */
    uint32_t sums;   /* and to its sums */
};

static inline float *op_f32_row(const struct op_f32 *x, uint32_t row)
{
    return x->base + row * x->stride;
}

static inline int8_t *op_q8a_values(const struct op_q8a *x, uint32_t row)
{
    return (int8_t *)(x->base + row * x->stride);
}

static inline float *op_q8a_scales(const struct op_q8a *x, uint32_t row)
{
    return (float *)(void *)(x->base + row * x->stride + x->scales);
}

static inline int32_t *op_q8a_sums(const struct op_q8a *x, uint32_t row)
{
    return (int32_t *)(void *)(x->base + row * x->stride + x->sums);
}

static inline struct kernel_q8a op_q8a_row(const struct op_q8a *x, uint32_t row)
{
    struct kernel_q8a q = {op_q8a_values(x, row), op_q8a_scales(x, row), op_q8a_sums(x, row)};
    return q;
}

/* ---- the ops ---- */

/* Bytes of the largest op's own struct. */
#define OP_BODY_BYTES 144u

/* One op of the program. What its body is only the file of its kind knows. */
struct op {
    uint16_t id;     /* IMAGE_OP_ID_* */
    uint16_t domain; /* IMAGE_DOMAIN_* */
    uint32_t weight; /* tensor whose product it is, for statistics; or IMAGE_NO_TENSOR */
    void (*run)(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
    _Alignas(8) uint8_t body[OP_BODY_BYTES];
};

/* Returns 0. */
static inline int op_put(struct op *op, const void *body, size_t size)
{
    __builtin_memcpy(op->body, body, size);
    return 0;
}

static inline const void *op_body(const struct op *op)
{
    return op->body;
}

/* What an op's file hands to the loader. `version` is the op's that the file knows: a number typed
 * there, so that a new version in host/ops is refused until somebody has written its C. */
struct reader;
struct op_kind {
    uint32_t version;

    /* Checks the fields at `fields` and puts the body; op->id and op->domain are set. Returns 0 or
     * an image error. */
    int (*decode)(struct reader *reader, const uint8_t *fields, struct op *op);
    void (*run)(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
};

/* op_kind_embed and so on: one in each file of firmware/ops. */
#define OP_KIND(name, NAME) extern const struct op_kind op_kind_##name;
IMAGE_OPS(OP_KIND)

#endif
