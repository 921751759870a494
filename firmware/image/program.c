/* SPDX-License-Identifier: Apache-2.0 */
/* The program of an image: every op and every operand checked, and decoded into native structs.
 *
 * Decoders return 0 or an error; each field is checked before it is used in a product, so that no
 * product can overflow 64 bits (LIMIT_* bound the factors).
 */
#include <string.h>

#include "common/checked.h"
#include "image/image.h"
#include "gen/errors.h"

#define OP_VERSION 1u

struct reader {
    const struct image *image;
    const struct image_plan *plan;
    const struct step_state *states;
    uint8_t *arena;
    const struct op *ops; /* decoded so far: `index` of them */
    uint32_t index;
    uint32_t weight; /* tensor of the LINEAR just decoded */
};

/* ---- fields ---- */

/* Not a number is in no range. */
static int check_float(float value, float low, float high)
{
    return value >= low && value <= high ? 0 : E_IMAGE_OP;
}

static int check_width(uint32_t width)
{
    return width >= 1 && width <= LIMIT_WIDTH ? 0 : E_IMAGE_OP;
}

static uint32_t domain_rows(const struct reader *r, uint32_t domain)
{
    return domain == IMAGE_DOMAIN_ROWS ? r->plan->max_rows : r->plan->max_logit_rows;
}

/* The bytes [first, first + size) of each of the domain's rows lie within their row and the arena.
 */
static int check_rows(const struct reader *r, const uint8_t *p, uint32_t domain, uint64_t first,
                      uint64_t size)
{
    uint64_t stride = (uint64_t)image_operand_stride(p) * IMAGE_ARENA_UNIT;
    uint64_t offset = (uint64_t)image_operand_offset(p) * IMAGE_ARENA_UNIT;
    uint64_t last = offset + (domain_rows(r, domain) - 1) * stride;

    if (image_operand_space(p) != IMAGE_SPACE_ARENA || first + size > stride)
        return E_IMAGE_OP;
    return checked_range(last + first, size, r->plan->arena_bytes) ? 0 : E_IMAGE_OP;
}

static int read_f32(const struct reader *r, const uint8_t *p, uint32_t domain, uint64_t width,
                    struct op_f32 *out)
{
    uint64_t first = (uint64_t)image_operand_col(p) * 4;

    if (check_rows(r, p, domain, first, width * 4))
        return E_IMAGE_OP;
    out->base =
        (float *)(void *)(r->arena + (uint64_t)image_operand_offset(p) * IMAGE_ARENA_UNIT + first);
    out->stride = (size_t)image_operand_stride(p) * (IMAGE_ARENA_UNIT / 4);
    return 0;
}

static int read_optional_f32(const struct reader *r, const uint8_t *p, uint32_t domain,
                             uint64_t width, struct op_f32 *out)
{
    return image_operand_space(p) == IMAGE_SPACE_NONE ? 0 : read_f32(r, p, domain, width, out);
}

static int read_q8a(const struct reader *r, const uint8_t *p, uint32_t domain, uint32_t width,
                    struct op_q8a *out)
{
    uint32_t groups = (uint32_t)checked_ceil(width, IMAGE_GROUP);
    uint32_t values = (uint32_t)checked_align(groups * IMAGE_GROUP, IMAGE_ARENA_UNIT);
    uint32_t scales = (uint32_t)checked_align(groups * 4, IMAGE_ARENA_UNIT);

    if (image_operand_col(p) || check_rows(r, p, domain, 0, (uint64_t)values + 2 * scales))
        return E_IMAGE_OP;
    out->base = r->arena + (uint64_t)image_operand_offset(p) * IMAGE_ARENA_UNIT;
    out->stride = (size_t)image_operand_stride(p) * IMAGE_ARENA_UNIT;
    out->scales = values;
    out->sums = values + scales;
    return 0;
}

static const uint8_t *find_tensor(const struct reader *r, uint32_t index)
{
    if (index >= r->plan->tensor_count)
        return NULL;
    return r->image->parts[IMAGE_SECTION_ID_TENSORS].data + (uint64_t)index * IMAGE_TENSOR_SIZE;
}

/* A tensor f32 PLAIN [1][cols]. */
static int read_vector(const struct reader *r, uint32_t index, uint32_t cols, const float **out)
{
    const uint8_t *t = find_tensor(r, index);
    struct kernel_weight weight;

    if (!t || image_tensor_format(t) != IMAGE_FORMAT_F32 ||
        image_tensor_layout(t) != IMAGE_LAYOUT_PLAIN || image_tensor_rows(t) != 1 ||
        image_tensor_cols(t) != cols)
        return E_IMAGE_OP;
    image_weight(r->image, index, &weight);
    *out = (const float *)(const void *)weight.data;
    return 0;
}

static int read_optional_vector(const struct reader *r, uint32_t index, uint32_t cols,
                                const float **out)
{
    return index == IMAGE_NO_TENSOR ? 0 : read_vector(r, index, cols, out);
}

/* A tensor of at least `rows` rows and exactly `cols` columns. */
static int read_table(const struct reader *r, uint32_t index, uint32_t rows, uint32_t cols,
                      struct kernel_weight *out)
{
    const uint8_t *t = find_tensor(r, index);

    if (!t || image_tensor_rows(t) < rows || image_tensor_cols(t) != cols)
        return E_IMAGE_OP;
    image_weight(r->image, index, out);
    return 0;
}

static const struct step_state *find_state(const struct reader *r, uint32_t index)
{
    return index < r->plan->state_count ? &r->states[index] : NULL;
}

/* ---- what stands before in the program ---- */

/* Pages are handed out as they are: attention before a store would read another session's keys. */
static int check_stored(const struct reader *r, uint32_t state)
{
    for (uint32_t i = 0; i < r->index; i++)
        if (r->ops[i].id == IMAGE_OP_ID_KV_STORE && r->ops[i].kv_store.state == state)
            return 0;
    return E_IMAGE_OP;
}

/* ---- ops ---- */

static int read_embed(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_embed *o = &op->embed;
    uint32_t positions = image_op_embed_positions(p);

    op->run = op_embed;
    o->dim = image_op_embed_dim(p);
    o->scale = image_op_embed_scale(p);
    if (op->domain != IMAGE_DOMAIN_ROWS || check_width(o->dim) ||
        check_float(o->scale, -1e6f, 1e6f))
        return E_IMAGE_OP;
    if (read_table(r, image_op_embed_table(p), r->plan->vocab, o->dim, &o->table))
        return E_IMAGE_OP;
    if (positions != IMAGE_NO_TENSOR) {
        /* Positions run on beyond any table once the oldest are overwritten. */
        if (r->plan->overflow != IMAGE_OVERFLOW_STOP)
            return E_IMAGE_OP;
        if (read_table(r, positions, r->plan->context, o->dim, &o->positions))
            return E_IMAGE_OP;
    }
    return read_f32(r, p + IMAGE_OP_EMBED_DST_OFFSET, op->domain, o->dim, &o->dst);
}

static int read_norm(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_norm *o = &op->norm;
    const uint8_t *src = p + IMAGE_OP_NORM_SRC_OFFSET, *dst = p + IMAGE_OP_NORM_DST_OFFSET;
    uint64_t width;

    op->run = op_norm;
    o->kind = image_op_norm_kind(p);
    o->width = image_op_norm_width(p);
    o->segments = image_op_norm_segments(p);
    o->eps = image_op_norm_eps(p);
    o->dst_format = image_op_norm_dst_format(p);
    width = (uint64_t)o->width * o->segments;
    if (o->kind > IMAGE_NORM_KIND_LAYER || check_width(o->width) || check_width(o->segments) ||
        check_float(o->eps, 1e-30f, 1.0f))
        return E_IMAGE_OP;
    if (read_f32(r, src, op->domain, width, &o->src) ||
        read_optional_vector(r, image_op_norm_weight(p), o->width, &o->weight) ||
        read_optional_vector(r, image_op_norm_bias(p), o->width, &o->bias))
        return E_IMAGE_OP;
    if (o->dst_format == IMAGE_FORMAT_F32)
        return read_f32(r, dst, op->domain, width, &o->dst);
    if (o->dst_format != IMAGE_FORMAT_Q8A || o->segments != 1)
        return E_IMAGE_OP;
    return read_q8a(r, dst, op->domain, o->width, &o->dst_q8a);
}

static int read_quantize(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_quantize *o = &op->quantize;
    const uint8_t *src = p + IMAGE_OP_QUANTIZE_SRC_OFFSET, *dst = p + IMAGE_OP_QUANTIZE_DST_OFFSET;

    op->run = op_quantize;
    o->width = image_op_quantize_width(p);
    if (check_width(o->width) || read_f32(r, src, op->domain, o->width, &o->src))
        return E_IMAGE_OP;
    return read_q8a(r, dst, op->domain, o->width, &o->dst);
}

/* The source is quantized exactly where the weight is. */
static int read_linear_source(struct reader *r, const uint8_t *src, struct op *op)
{
    struct op_linear *o = &op->linear;
    int floats = o->weight.format == IMAGE_FORMAT_F32 || o->weight.format == IMAGE_FORMAT_BF16;

    if (o->src_format != (floats ? IMAGE_FORMAT_F32 : IMAGE_FORMAT_Q8A))
        return E_IMAGE_OP;
    if (floats)
        return read_f32(r, src, op->domain, o->k, &o->src_f32);
    return read_q8a(r, src, op->domain, o->k, &o->src_q8a);
}

static int read_linear_weight(struct reader *r, const uint8_t *p, struct op_linear *o)
{
    uint32_t index = image_op_linear_weight(p), rows = o->n * (o->gated + 1);
    const uint8_t *t = find_tensor(r, index);

    if (read_table(r, index, rows, o->k, &o->weight) || image_tensor_rows(t) != rows ||
        o->weight.layout == IMAGE_LAYOUT_PLAIN)
        return E_IMAGE_OP;
    r->weight = index;
    return read_optional_vector(r, image_op_linear_bias(p), o->weight.rows, &o->bias);
}

static int read_linear(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_linear *o = &op->linear;

    op->run = op_linear;
    o->src_format = image_op_linear_src_format(p);
    o->k = image_op_linear_k(p);
    o->n = image_op_linear_n(p);
    o->activation = image_op_linear_activation(p);
    o->gated = image_op_linear_gated(p);
    if (check_width(o->k) || check_width(o->n) || o->activation > IMAGE_ACTIVATION_RELU ||
        o->gated > 1 || (o->gated && o->n % 8))
        return E_IMAGE_OP;
    if (read_linear_weight(r, p, o) || read_linear_source(r, p + IMAGE_OP_LINEAR_SRC_OFFSET, op))
        return E_IMAGE_OP;
    if (read_optional_f32(r, p + IMAGE_OP_LINEAR_RESIDUAL_OFFSET, op->domain, o->n, &o->residual))
        return E_IMAGE_OP;
    return read_f32(r, p + IMAGE_OP_LINEAR_DST_OFFSET, op->domain, o->n, &o->dst);
}

static int read_rope_table(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_rope_table *o = &op->rope_table;

    op->run = op_rope_table;
    o->half = image_op_rope_table_half(p);
    o->scale = image_op_rope_table_scale(p);
    if (op->domain != IMAGE_DOMAIN_ROWS || check_width(o->half) || o->half > LIMIT_HEAD_DIM / 2 ||
        check_float(o->scale, 1e-6f, 1e6f))
        return E_IMAGE_OP;
    if (read_vector(r, image_op_rope_table_frequencies(p), o->half, &o->frequencies))
        return E_IMAGE_OP;
    return read_f32(r, p + IMAGE_OP_ROPE_TABLE_DST_OFFSET, op->domain, 2ull * o->half, &o->dst);
}

static int read_rope(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_rope *o = &op->rope;

    op->run = op_rope;
    o->heads = image_op_rope_heads(p);
    o->head_dim = image_op_rope_head_dim(p);
    o->rotary = image_op_rope_rotary(p);
    o->style = image_op_rope_style(p);
    if (op->domain != IMAGE_DOMAIN_ROWS || check_width(o->heads) || check_width(o->head_dim))
        return E_IMAGE_OP;
    if (!o->rotary || o->rotary % 2 || o->rotary > o->head_dim || o->style > IMAGE_ROPE_STYLE_PAIRS)
        return E_IMAGE_OP;
    if (read_f32(r, p + IMAGE_OP_ROPE_TABLE_OFFSET, op->domain, o->rotary, &o->table))
        return E_IMAGE_OP;
    return read_f32(r, p + IMAGE_OP_ROPE_X_OFFSET, op->domain, (uint64_t)o->heads * o->head_dim,
                    &o->x);
}

static int read_kv_store(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_kv_store *o = &op->kv_store;
    const struct step_state *state = find_state(r, image_op_kv_store_state(p));
    uint64_t width;

    op->run = op_kv_store;
    o->state = image_op_kv_store_state(p);
    if (op->domain != IMAGE_DOMAIN_ROWS || !state)
        return E_IMAGE_OP;
    width = (uint64_t)state->kv_heads * state->head_dim;
    if (read_f32(r, p + IMAGE_OP_KV_STORE_K_OFFSET, op->domain, width, &o->k))
        return E_IMAGE_OP;
    return read_f32(r, p + IMAGE_OP_KV_STORE_V_OFFSET, op->domain, width, &o->v);
}

/* partial_chunks() of host/schema/image.py. */
static uint32_t partial_chunks(const struct image_plan *plan, const struct step_state *state)
{
    uint64_t whole = checked_ceil(plan->context, IMAGE_PARTIAL_TOKENS);
    uint64_t seen = ((uint64_t)state->window + IMAGE_PARTIAL_TOKENS - 2) / IMAGE_PARTIAL_TOKENS +
                    1 + checked_ceil(state->sinks, IMAGE_PARTIAL_TOKENS);

    if (!state->window || (plan->overflow == IMAGE_OVERFLOW_STOP && whole < seen))
        return (uint32_t)whole;
    return (uint32_t)seen;
}

/* One row, whatever the stride. */
static int read_partial(const struct reader *r, const uint8_t *p, const struct step_state *state,
                        struct op_attention *o)
{
    uint64_t offset = (uint64_t)image_operand_offset(p) * IMAGE_ARENA_UNIT;

    o->partial_record = (uint32_t)checked_align(state->head_dim + 2, 16);
    o->chunks = partial_chunks(r->plan, state);
    if (image_operand_space(p) != IMAGE_SPACE_ARENA || image_operand_col(p))
        return E_IMAGE_OP;
    if (!checked_range(offset, (uint64_t)o->heads * o->chunks * o->partial_record * 4,
                       r->plan->arena_bytes))
        return E_IMAGE_OP;
    o->partial = (float *)(void *)(r->arena + offset);
    return 0;
}

static int read_attention(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_attention *o = &op->attention;
    const struct step_state *state = find_state(r, image_op_attention_state(p));
    uint64_t width;

    op->run = op_attention;
    o->state = image_op_attention_state(p);
    o->heads = image_op_attention_heads(p);
    o->scale = image_op_attention_scale(p);
    o->softcap = image_op_attention_softcap(p);
    if (op->domain != IMAGE_DOMAIN_ROWS || !state || check_stored(r, o->state))
        return E_IMAGE_OP;
    if (check_width(o->heads) || o->heads % state->kv_heads || check_float(o->scale, 1e-6f, 1e6f) ||
        check_float(o->softcap, 0.0f, 1e6f))
        return E_IMAGE_OP;
    if (o->heads / state->kv_heads > LIMIT_GROUP_HEADS)
        return E_IMAGE_LIMIT;
    width = (uint64_t)o->heads * state->head_dim;
    if (read_f32(r, p + IMAGE_OP_ATTENTION_Q_OFFSET, op->domain, width, &o->q) ||
        read_f32(r, p + IMAGE_OP_ATTENTION_DST_OFFSET, op->domain, width, &o->dst))
        return E_IMAGE_OP;
    return read_partial(r, p + IMAGE_OP_ATTENTION_PARTIAL_OFFSET, state, o);
}

static int read_eltwise(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_eltwise *o = &op->eltwise;
    const uint8_t *b = p + IMAGE_OP_ELTWISE_B_OFFSET;
    int alone;

    op->run = op_eltwise;
    o->kind = image_op_eltwise_kind(p);
    o->activation = image_op_eltwise_activation(p);
    o->width = image_op_eltwise_width(p);
    if (o->kind > IMAGE_ELTWISE_BIAS || o->activation > IMAGE_ACTIVATION_RELU ||
        check_width(o->width))
        return E_IMAGE_OP;
    alone = o->kind == IMAGE_ELTWISE_ACT || o->kind == IMAGE_ELTWISE_BIAS;
    if (alone ? image_operand_space(b) != IMAGE_SPACE_NONE
              : read_f32(r, b, op->domain, o->width, &o->b))
        return E_IMAGE_OP;
    if (o->kind == IMAGE_ELTWISE_BIAS &&
        read_vector(r, image_op_eltwise_tensor(p), o->width, &o->tensor))
        return E_IMAGE_OP;
    if (read_f32(r, p + IMAGE_OP_ELTWISE_A_OFFSET, op->domain, o->width, &o->a))
        return E_IMAGE_OP;
    return read_f32(r, p + IMAGE_OP_ELTWISE_DST_OFFSET, op->domain, o->width, &o->dst);
}

static int read_gather(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_gather *o = &op->gather;
    const uint8_t *src = p + IMAGE_OP_GATHER_SRC_OFFSET, *dst = p + IMAGE_OP_GATHER_DST_OFFSET;

    op->run = op_gather;
    o->width = image_op_gather_width(p);
    if (op->domain != IMAGE_DOMAIN_LOGIT_ROWS || check_width(o->width))
        return E_IMAGE_OP;
    if (read_f32(r, src, IMAGE_DOMAIN_ROWS, o->width, &o->src))
        return E_IMAGE_OP;
    return read_f32(r, dst, op->domain, o->width, &o->dst);
}

/* ---- the program ---- */

static int read_op(struct reader *r, const uint8_t *p, struct op *op)
{
    static int (*const readers[])(struct reader *, const uint8_t *, struct op *) = {
        [IMAGE_OP_ID_EMBED] = read_embed,           [IMAGE_OP_ID_NORM] = read_norm,
        [IMAGE_OP_ID_QUANTIZE] = read_quantize,     [IMAGE_OP_ID_LINEAR] = read_linear,
        [IMAGE_OP_ID_ROPE_TABLE] = read_rope_table, [IMAGE_OP_ID_ROPE] = read_rope,
        [IMAGE_OP_ID_KV_STORE] = read_kv_store,     [IMAGE_OP_ID_ATTENTION] = read_attention,
        [IMAGE_OP_ID_ELTWISE] = read_eltwise,       [IMAGE_OP_ID_GATHER] = read_gather,
    };

    memset(op, 0, sizeof *op);
    op->id = image_op_head_id(p);
    op->domain = image_op_head_domain(p);
    if (op->id >= sizeof readers / sizeof readers[0] || !readers[op->id])
        return E_IMAGE_OP;
    if (image_op_head_version(p) != OP_VERSION || op->domain > IMAGE_DOMAIN_LOGIT_ROWS)
        return E_IMAGE_OP;
    return readers[op->id](r, p + IMAGE_OP_HEAD_SIZE, op);
}

int image_read_ops(const struct image *image, const struct image_plan *plan,
                   const struct step_state *states, uint8_t *arena, struct op *ops,
                   uint32_t *weights, uint64_t *detail)
{
    struct reader r = {.image = image, .plan = plan, .states = states, .arena = arena, .ops = ops};
    const uint8_t *p = image->parts[IMAGE_SECTION_ID_PROGRAM].data;

    for (; r.index < plan->op_count; r.index++) {
        int error;
        r.weight = IMAGE_NO_TENSOR;
        error = read_op(&r, p + r.index * IMAGE_OP_BYTES, &ops[r.index]);
        *detail = r.index;
        if (error)
            return error;
        weights[r.index] = r.weight;
    }
    return image_check_flow(plan, states, arena, ops, detail);
}
