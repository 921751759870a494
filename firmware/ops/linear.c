/* SPDX-License-Identifier: Apache-2.0 */

/* Matrix product with its epilogue: bias, activation, gate, residual.
 *
 * Harts share the weight's rows in units of 16, for tiles of 64 are too coarse for small matrices.
 * A tile is the outer loop and blocks of input rows the inner one, so that a tile comes from memory
 * once and from the cache after that. Kernels that multiply with packed rows get those of as many
 * blocks as there is room for, packed once by all harts together.
 */

#include "common/pool.h"
#include "formats/formats.h"
#include "gen/errors.h"
#include "image/reader.h"
#include "kernels/load.h"

#define UNIT 16u /* weight rows: the grain of sharing; two times 8 where gated */

/* dst[t][j] = epilogue(weight row . src[t]) for j below n; nothing is written from n on. Gated: n
 * is a multiple of 8 and the weight has 2n rows, each block of 16 being 8 gate rows, then the 8 up
 * rows of the same outputs. */
struct OP_BODY op_linear {
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
_Static_assert(sizeof(struct op_linear) <= OP_BODY_BYTES, "see op.h");

static uint32_t block_count(uint32_t rows, uint32_t t0)
{
    return rows - t0 < KERNEL_BLOCK ? rows - t0 : KERNEL_BLOCK;
}

/* What a kernel left for one input row: weight rows [row0, row1), in place. */
static void add_bias(const struct op_linear *l, uint32_t row0, uint32_t row1, float *acc)
{
    const float *bias = l->bias;
    for (uint32_t i = 0; bias && i < row1 - row0; i++)
        acc[i] += bias[row0 + i];
}

/* Gate rows activated times up rows, packed to the front. Returns how many are left. */
static uint32_t apply_gate(const struct op_linear *l, uint32_t rows, float *acc)
{
    float gate[KERNEL_TILE / 2];
    for (uint32_t u = 0; u < rows / UNIT; u++)
        for (uint32_t i = 0; i < 8; i++)
            gate[8 * u + i] = acc[UNIT * u + i];
    kernels.activate(gate, rows / 2, l->activation);
    for (uint32_t u = 0; u < rows / UNIT; u++)
        for (uint32_t i = 0; i < 8; i++)
            acc[8 * u + i] = gate[8 * u + i] * acc[UNIT * u + 8 + i];
    return rows / 2;
}

KERNEL_COPIES static void store(float *restrict dst, const float *restrict acc, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        dst[i] = acc[i];
}

static void finish_row(const struct op_linear *l, uint32_t t, uint32_t row0, uint32_t row1,
                       float *acc)
{
    uint32_t first = l->gated ? row0 / 2 : row0, count = row1 - row0;
    add_bias(l, row0, row1, acc);
    if (l->gated)
        count = apply_gate(l, count, acc);
    else
        kernels.activate(acc, count, l->activation);
    if (first + count > l->n)
        count = l->n - first;
    if (l->residual.base) {
        const float *residual = op_f32_row(&l->residual, t) + first;
        for (uint32_t i = 0; i < count; i++)
            acc[i] += residual[i];
    }
    store(op_f32_row(&l->dst, t) + first, acc, count);
}

/* ---- packed input rows ---- */

/* The weight, which kernel multiplies, and how the input rows are packed. */
struct packing {
    struct kernel_weight weight;
    kernel_linear_q8a *quantized;        /* where src_format is Q8A */
    kernel_linear_f32 *floats;           /* where src_format is F32 */
    const struct kernel_packed *version; /* NULL: not packed at all */
    uint8_t *to;                         /* step->packed */
    uint32_t groups;
    uint32_t rows; /* that are packed: whole blocks from the first row on */
};

static struct packing find_packing(const struct op_linear *l, const struct step *step,
                                   uint32_t rows)
{
    struct packing p = {
        .weight = l->weight, .to = step->packed, .groups = l->weight.cols / KERNEL_GROUP};
    if (l->src_format != IMAGE_FORMAT_Q8A) {
        p.floats = kernels.linear_f32(l->weight.format);
        return p;
    }
    p.quantized = kernels.linear_q8a(l->weight.format, l->weight.layout);
    p.version = kernels.packed(l->weight.format, l->weight.layout);
    while (p.version && p.rows < rows) {
        uint32_t next = p.rows + block_count(rows, p.rows);
        if ((uint64_t)next * p.groups * p.version->record > LIMIT_PACKED_BYTES)
            return p;
        p.rows = next;
    }
    return p;
}

/* A block's records from group `group` on. */
static uint8_t *find_block(const struct packing *p, uint32_t t0, uint32_t count, uint32_t group)
{
    return p->to + ((size_t)t0 * p->groups + (size_t)count * group) * p->version->record;
}

static void find_rows(const struct op_linear *l, uint32_t t0, uint32_t count, struct kernel_q8a *x)
{
    for (uint32_t t = 0; t < count; t++)
        x[t] = op_q8a_row(&l->src_q8a, t0 + t);
}

/* Harts share the groups. */
static void pack_rows(const struct op_linear *l, const struct packing *p, struct pool *pool,
                      uint32_t hart, uint32_t harts)
{
    uint32_t group0 = (uint32_t)((uint64_t)p->groups * hart / harts);
    uint32_t group1 = (uint32_t)((uint64_t)p->groups * (hart + 1) / harts);
    for (uint32_t t0 = 0; t0 < p->rows; t0 += KERNEL_BLOCK) {
        struct kernel_q8a x[KERNEL_BLOCK];
        uint32_t count = block_count(p->rows, t0);
        find_rows(l, t0, count, x);
        p->version->pack(x, count, group0, group1, find_block(p, t0, count, group0));
    }
    pool_barrier(pool, hart);
}

/* ---- the product ---- */

/* `count` input rows from t0 on times weight rows [row0, row1) of one tile. */
static void multiply(const struct op_linear *l, const struct packing *p, uint32_t t0,
                     uint32_t count, uint32_t row0, uint32_t row1, float *acc)
{
    const struct kernel_weight *w = &p->weight;
    if (t0 < p->rows) {
        p->version->linear(w, find_block(p, t0, count, 0), count, row0, row1, acc, KERNEL_TILE);
    } else if (l->src_format == IMAGE_FORMAT_Q8A) {
        struct kernel_q8a x[KERNEL_BLOCK];
        find_rows(l, t0, count, x);
        p->quantized(w, x, count, row0, row1, acc, KERNEL_TILE);
    } else {
        const float *x[KERNEL_BLOCK];
        for (uint32_t t = 0; t < count; t++)
            x[t] = op_f32_row(&l->src_f32, t0 + t);
        p->floats(w, x, count, row0, row1, acc, KERNEL_TILE);
    }
}

static void op_linear(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_linear *l = op_body(op);
    uint32_t rows = step_count(step, op->domain);
    uint64_t units = ((l->gated ? 2 * l->n : l->n) + UNIT - 1) / UNIT;
    uint32_t row = (uint32_t)(units * hart / harts) * UNIT;
    uint32_t end = (uint32_t)(units * (hart + 1) / harts) * UNIT;
    struct packing packing = find_packing(l, step, rows);
    if (packing.rows)
        pack_rows(l, &packing, step->pool, hart, harts);
    while (row < end) {
        uint32_t stop = (row / KERNEL_TILE + 1) * KERNEL_TILE;
        stop = stop < end ? stop : end;
        for (uint32_t t = 0; t < rows; t += KERNEL_BLOCK) {
            float acc[KERNEL_BLOCK][KERNEL_TILE];
            uint32_t count = block_count(rows, t);
            multiply(l, &packing, t, count, row, stop, acc[0]);
            for (uint32_t i = 0; i < count; i++)
                finish_row(l, t + i, row, stop, acc[i]);
        }
        row = stop;
    }
}

/* The source is stored as the weight's format asks for. */
static int decode_source(struct reader *r, const uint8_t *src, struct op_linear *o)
{
    const struct format_record *record = format_find(o->weight.format, o->weight.layout);

    if (o->src_format != record->activations)
        return E_IMAGE_OP;
    return o->src_format == IMAGE_FORMAT_F32 ? reader_read_f32(r, src, o->k, &o->src_f32)
                                             : reader_read_q8a(r, src, o->k, &o->src_q8a);
}

static int decode_operands(struct reader *r, const uint8_t *p, struct op_linear *o)
{
    const uint8_t *residual = p + IMAGE_OP_LINEAR_RESIDUAL_OFFSET;

    if (reader_weight(r, image_op_linear_weight(p), o->n * (o->gated + 1), o->k, &o->weight) ||
        reader_optional_vector(r, image_op_linear_bias(p), o->weight.rows, &o->bias) ||
        decode_source(r, p + IMAGE_OP_LINEAR_SRC_OFFSET, o))
        return E_IMAGE_OP;
    if (reader_is_operand(residual) ? reader_read_f32_in_place(r, residual, o->n, &o->residual)
                                    : reader_no_operand(residual))
        return E_IMAGE_OP;
    return reader_write_f32(r, p + IMAGE_OP_LINEAR_DST_OFFSET, o->n, &o->dst);
}

static int decode_linear(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_linear o = {.src_format = image_op_linear_src_format(p),
                          .k = image_op_linear_k(p),
                          .n = image_op_linear_n(p),
                          .activation = image_op_linear_activation(p),
                          .gated = image_op_linear_gated(p)};

    if (reader_check_width(o.k) || reader_check_width(o.n) ||
        o.activation > IMAGE_ACTIVATION_TANH || o.gated > 1 || (o.gated && o.n % 8))
        return E_IMAGE_OP;
    if (decode_operands(r, p, &o))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_linear = {.version = 2, .decode = decode_linear, .run = op_linear};
