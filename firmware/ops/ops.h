/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPS_OPS_H
#define OPS_OPS_H

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
    uint32_t page = position / 64u;
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

/* Whether a row at `position` attends to position `key`. */
static inline int step_sees(const struct step_state *state, uint32_t position, uint32_t key)
{
    if (key > position)
        return 0;
    return !state->window || position - key < state->window || key < state->sinks;
}

/* ---- operands ---- */

/* Rows of f32 in the arena; base is NULL for an operand that is not there. Rows are 4-byte aligned
 * (64 where the operand starts at column 0). */
struct op_f32 {
    float *base;
    size_t stride; /* floats from row to row */
};

/* Rows of Q8A in the arena, 64-byte aligned. */
struct op_q8a {
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

/* dst = table[token] * scale (+ positions[position]). Tables are tiled weights of any format, or
 * PLAIN F32 or BF16; of a PLAIN table `tile_stride` is the bytes from row to row, and rows and cols
 * are not padded. */
struct op_embed {
    struct op_f32 dst;
    struct kernel_weight table;
    struct kernel_weight positions; /* data NULL: none */
    uint32_t dim;
    float scale;
};

struct op_norm {
    struct op_f32 src;
    struct op_f32 dst;     /* where dst_format is F32; may be src */
    struct op_q8a dst_q8a; /* where dst_format is Q8A; one segment */
    const float *weight;   /* NULL: none */
    const float *bias;     /* NULL: none */
    uint32_t kind;         /* IMAGE_NORM_KIND_* */
    uint32_t width;        /* of a segment; a row has segments * width floats */
    uint32_t segments;
    float eps;
    uint32_t dst_format;
};

struct op_quantize {
    struct op_f32 src;
    struct op_q8a dst;
    uint32_t width;
};

/* dst[t][j] = epilogue(weight row . src[t]) for j below n; nothing is written from n on. Gated: n
 * is a multiple of 8 and the weight has 2n rows, each block of 16 being 8 gate rows, then the 8 up
 * rows of the same outputs. */
struct op_linear {
    struct op_q8a src_q8a; /* where src_format is Q8A */
    struct op_f32 src_f32; /* where src_format is F32 */
    struct op_f32 dst;
    struct op_f32 residual; /* may be dst; base NULL: none */
    struct kernel_weight weight;
    const float *bias; /* by weight row, padded rows included; NULL: none */
    uint32_t src_format;
    uint32_t k;
    uint32_t n;
    uint32_t activation; /* IMAGE_ACTIVATION_* */
    uint32_t gated;
};

/* dst = cos(position * frequency[i]) * scale for i below half, then the sines. */
struct op_rope_table {
    struct op_f32 dst;
    const float *frequencies;
    uint32_t half;
    float scale;
};

struct op_rope {
    struct op_f32 x;
    struct op_f32 table;
    uint32_t heads;
    uint32_t head_dim;
    uint32_t rotary; /* even, at most head_dim */
    uint32_t style;  /* IMAGE_ROPE_STYLE_* */
};

struct op_kv_store {
    struct op_f32 k;
    struct op_f32 v;
    uint32_t state;
};

struct op_attention {
    struct op_f32 q;
    struct op_f32 dst;
    float *partial;          /* [chunks][heads] records, 64-byte aligned */
    uint32_t partial_record; /* floats a record: head_dim + 2 rounded up to 16 */
    uint32_t chunks;         /* most 256-position chunks that one row can see any position of */
    uint32_t state;
    uint32_t heads; /* a multiple of the state's kv_heads, at most LIMIT_GROUP_HEADS times them */
    float scale;
    float softcap; /* 0: none */
};

struct op_eltwise {
    struct op_f32 a;
    struct op_f32 b; /* base NULL for ACT and BIAS */
    struct op_f32 dst;
    const float *tensor; /* BIAS */
    uint32_t kind;       /* IMAGE_ELTWISE_* */
    uint32_t activation;
    uint32_t width;
};

struct op_gather {
    struct op_f32 src;
    struct op_f32 dst;
    uint32_t width;
};

struct op {
    uint32_t id;     /* IMAGE_OP_ID_* */
    uint32_t domain; /* IMAGE_DOMAIN_*; embed, rope_table, kv_store and attention are always ROWS,
                        gather LOGIT_ROWS */
    void (*run)(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
    union {
        struct op_embed embed;
        struct op_norm norm;
        struct op_quantize quantize;
        struct op_linear linear;
        struct op_rope_table rope_table;
        struct op_rope rope;
        struct op_kv_store kv_store;
        struct op_attention attention;
        struct op_eltwise eltwise;
        struct op_gather gather;
    };
};

void op_embed(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_norm(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_quantize(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_linear(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_rope_table(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_rope(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_kv_store(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_attention(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_eltwise(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);
void op_gather(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts);

#endif
