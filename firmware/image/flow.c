/* SPDX-License-Identifier: Apache-2.0 */
/* The flow of values through the program: what an op reads is what ops before it wrote in the same
 * step, of the same kind and in the same rows, and nothing has touched it since.
 *
 * So no value is read as another kind than it was written, a scale still bounds what it was made
 * from, nothing depends on steps before or on which hart was faster, and every target computes the
 * same, whatever the image. Work is bounded by LIMIT_OPS squared and needs no memory.
 */
#include "image/image.h"
#include "gen/errors.h"

#define FLOATS     0u         /* `elements` of rows of f32 */
#define PARTIAL    UINT32_MAX /* and of attention's own memory, which nobody else may read */
#define MAX_READS  2u
#define MAX_WRITES 2u

/* The bytes [first + i * stride, + width) of the arena, for each of `rows` rows i. */
struct extent {
    uint64_t first;
    uint64_t stride;
    uint64_t rows;
    uint64_t width;
    uint32_t domain;
    uint32_t elements; /* FLOATS, PARTIAL, or how many values a quantized row has */
};

struct flow {
    const struct image_plan *plan;
    const struct step_state *states;
    const uint8_t *arena;
    const struct op *ops;
};

/* ---- what an op reads and writes ---- */

static uint64_t domain_rows(const struct flow *f, uint32_t domain)
{
    return domain == IMAGE_DOMAIN_ROWS ? f->plan->max_rows : f->plan->max_logit_rows;
}

static struct extent floats(const struct flow *f, const struct op_f32 *x, uint32_t domain,
                            uint64_t width)
{
    return (struct extent){(uint64_t)((const uint8_t *)x->base - f->arena),
                           x->stride * 4,
                           domain_rows(f, domain),
                           width * 4,
                           domain,
                           FLOATS};
}

/* From a row's values to the end of its sums. */
static struct extent quantized(const struct flow *f, const struct op_q8a *x, uint32_t domain,
                               uint32_t elements)
{
    uint32_t scales = x->sums - x->scales;
    return (struct extent){(uint64_t)(x->base - f->arena), x->stride, domain_rows(f, domain),
                           (uint64_t)x->sums + scales,     domain,    elements};
}

static struct extent partial(const struct flow *f, const struct op_attention *o)
{
    uint64_t bytes = (uint64_t)o->heads * o->chunks * o->partial_record * 4;
    return (struct extent){(uint64_t)((const uint8_t *)o->partial - f->arena),
                           bytes,
                           1,
                           bytes,
                           IMAGE_DOMAIN_ROWS,
                           PARTIAL};
}

static uint64_t kv_width(const struct flow *f, uint32_t state)
{
    return (uint64_t)f->states[state].kv_heads * f->states[state].head_dim;
}

static uint64_t q_width(const struct flow *f, const struct op_attention *o)
{
    return (uint64_t)o->heads * f->states[o->state].head_dim;
}

static struct extent norm_result(const struct flow *f, const struct op *op)
{
    const struct op_norm *o = &op->norm;
    if (o->dst_format == IMAGE_FORMAT_Q8A)
        return quantized(f, &o->dst_q8a, op->domain, o->width);
    return floats(f, &o->dst, op->domain, (uint64_t)o->width * o->segments);
}

/* Returns their number. */
static uint32_t find_writes(const struct flow *f, const struct op *op, struct extent *out)
{
    switch (op->id) {
    case IMAGE_OP_ID_EMBED:
        out[0] = floats(f, &op->embed.dst, op->domain, op->embed.dim);
        return 1;
    case IMAGE_OP_ID_NORM:
        out[0] = norm_result(f, op);
        return 1;
    case IMAGE_OP_ID_QUANTIZE:
        out[0] = quantized(f, &op->quantize.dst, op->domain, op->quantize.width);
        return 1;
    case IMAGE_OP_ID_LINEAR:
        out[0] = floats(f, &op->linear.dst, op->domain, op->linear.n);
        return 1;
    case IMAGE_OP_ID_ROPE_TABLE:
        out[0] = floats(f, &op->rope_table.dst, op->domain, 2ull * op->rope_table.half);
        return 1;
    case IMAGE_OP_ID_ROPE:
        out[0] = floats(f, &op->rope.x, op->domain, (uint64_t)op->rope.heads * op->rope.head_dim);
        return 1;
    case IMAGE_OP_ID_ATTENTION:
        out[0] = floats(f, &op->attention.dst, op->domain, q_width(f, &op->attention));
        out[1] = partial(f, &op->attention);
        return 2;
    case IMAGE_OP_ID_ELTWISE:
        out[0] = floats(f, &op->eltwise.dst, op->domain, op->eltwise.width);
        return 1;
    case IMAGE_OP_ID_GATHER:
        out[0] = floats(f, &op->gather.dst, op->domain, op->gather.width);
        return 1;
    default:
        return 0;
    }
}

static uint32_t find_linear_reads(const struct flow *f, const struct op *op, struct extent *out)
{
    const struct op_linear *o = &op->linear;
    out[0] = o->src_format == IMAGE_FORMAT_Q8A ? quantized(f, &o->src_q8a, op->domain, o->k)
                                               : floats(f, &o->src_f32, op->domain, o->k);
    if (!o->residual.base)
        return 1;
    out[1] = floats(f, &o->residual, op->domain, o->n);
    return 2;
}

static uint32_t find_reads(const struct flow *f, const struct op *op, struct extent *out)
{
    switch (op->id) {
    case IMAGE_OP_ID_NORM:
        out[0] = floats(f, &op->norm.src, op->domain, (uint64_t)op->norm.width * op->norm.segments);
        return 1;
    case IMAGE_OP_ID_QUANTIZE:
        out[0] = floats(f, &op->quantize.src, op->domain, op->quantize.width);
        return 1;
    case IMAGE_OP_ID_LINEAR:
        return find_linear_reads(f, op, out);
    case IMAGE_OP_ID_ROPE:
        out[0] = floats(f, &op->rope.x, op->domain, (uint64_t)op->rope.heads * op->rope.head_dim);
        out[1] = floats(f, &op->rope.table, op->domain, op->rope.rotary);
        return 2;
    case IMAGE_OP_ID_KV_STORE:
        out[0] = floats(f, &op->kv_store.k, op->domain, kv_width(f, op->kv_store.state));
        out[1] = floats(f, &op->kv_store.v, op->domain, kv_width(f, op->kv_store.state));
        return 2;
    case IMAGE_OP_ID_ATTENTION:
        out[0] = floats(f, &op->attention.q, op->domain, q_width(f, &op->attention));
        return 1;
    case IMAGE_OP_ID_ELTWISE:
        out[0] = floats(f, &op->eltwise.a, op->domain, op->eltwise.width);
        if (!op->eltwise.b.base)
            return 1;
        out[1] = floats(f, &op->eltwise.b, op->domain, op->eltwise.width);
        return 2;
    case IMAGE_OP_ID_GATHER:
        out[0] = floats(f, &op->gather.src, IMAGE_DOMAIN_ROWS, op->gather.width);
        return 1;
    default:
        return 0;
    }
}

/* ---- how two of them lie ---- */

/* All rows of both are rows of one block: the i-th of one meets no other than the i-th of the
 * other. */
static int is_aligned(const struct extent *a, const struct extent *b)
{
    uint64_t a_end = a->first + a->width, b_end = b->first + b->width;
    uint64_t first = a->first < b->first ? a->first : b->first;
    uint64_t end = a_end > b_end ? a_end : b_end;
    return a->stride == b->stride && end - first <= a->stride;
}

static int is_apart(const struct extent *a, const struct extent *b)
{
    uint64_t a_end = a->first + (a->rows - 1) * a->stride + a->width;
    uint64_t b_end = b->first + (b->rows - 1) * b->stride + b->width;
    if (a_end <= b->first || b_end <= a->first)
        return 1;
    return is_aligned(a, b) && (a->first + a->width <= b->first || b->first + b->width <= a->first);
}

static int is_same_kind(const struct extent *a, const struct extent *b)
{
    return a->domain == b->domain && a->elements == b->elements;
}

static int is_same(const struct extent *a, const struct extent *b)
{
    return is_same_kind(a, b) && a->first == b->first && a->width == b->width &&
           a->stride == b->stride;
}

/* ---- within an op: harts share its work ---- */

/* Kernels of these ops read an element before they write to its place, and no hart writes what
 * another reads. */
static int works_in_place(const struct op *op, uint32_t read)
{
    if (op->id == IMAGE_OP_ID_LINEAR)
        return read == 1; /* the residual */
    if (op->id == IMAGE_OP_ID_ROPE)
        return read == 0;
    return op->id == IMAGE_OP_ID_NORM || op->id == IMAGE_OP_ID_ELTWISE;
}

static int check_op(const struct flow *f, const struct op *op)
{
    struct extent reads[MAX_READS], writes[MAX_WRITES];
    uint32_t read_count = find_reads(f, op, reads), write_count = find_writes(f, op, writes);

    if (write_count == 2 && !is_apart(&writes[0], &writes[1]))
        return E_IMAGE_OP;
    for (uint32_t w = 0; w < write_count; w++)
        for (uint32_t r = 0; r < read_count; r++)
            if (!is_apart(&writes[w], &reads[r]) &&
                !(works_in_place(op, r) && is_same(&writes[w], &reads[r])))
                return E_IMAGE_OP;
    return 0;
}

/* ---- between ops ---- */

/* What of `left` is not yet known to be written, less what `write` wrote of it. A hole in the
 * middle is refused: no program has one. */
static int take(struct extent *left, const struct extent *write)
{
    uint64_t end = left->first + left->width, write_end = write->first + write->width;

    if (left->elements != FLOATS && !is_same(write, left))
        return E_IMAGE_OP;
    if (!is_same_kind(write, left) || !is_aligned(write, left))
        return E_IMAGE_OP;
    if (write->first <= left->first) {
        left->first = write_end < end ? write_end : end;
        left->width = end - left->first;
        return 0;
    }
    left->width = write->first - left->first;
    return write_end >= end ? 0 : E_IMAGE_OP;
}

/* The last ops before `index` that wrote into `read` wrote all of it, as it is read. */
static int check_read(const struct flow *f, uint32_t index, const struct extent *read)
{
    struct extent left = *read;

    for (uint32_t i = index; left.width && i-- > 0;) {
        struct extent writes[MAX_WRITES];
        uint32_t count = find_writes(f, &f->ops[i], writes);
        for (uint32_t w = 0; left.width && w < count; w++)
            if (!is_apart(&writes[w], &left) && take(&left, &writes[w]))
                return E_IMAGE_OP;
    }
    return left.width ? E_IMAGE_OP : 0;
}

static int check_logits(const struct flow *f)
{
    const struct image_plan *plan = f->plan;
    struct extent logits = {plan->logits_offset,     (uint64_t)plan->logits_stride * 4,
                            plan->max_logit_rows,    (uint64_t)plan->vocab * 4,
                            IMAGE_DOMAIN_LOGIT_ROWS, FLOATS};
    return check_read(f, plan->op_count, &logits) ? E_IMAGE_PLAN : 0;
}

int image_check_flow(const struct image_plan *plan, const struct step_state *states,
                     const uint8_t *arena, const struct op *ops, uint64_t *detail)
{
    struct flow f = {plan, states, arena, ops};

    for (uint32_t i = 0; i < plan->op_count; i++) {
        struct extent reads[MAX_READS];
        uint32_t count = find_reads(&f, &ops[i], reads);
        int error = check_op(&f, &ops[i]);
        for (uint32_t r = 0; !error && r < count; r++)
            error = check_read(&f, i, &reads[r]);
        *detail = i;
        if (error)
            return error;
    }
    *detail = IMAGE_SECTION_ID_PLAN;
    return check_logits(&f);
}
