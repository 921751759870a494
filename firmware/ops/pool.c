/* SPDX-License-Identifier: Apache-2.0 */

/* One row out of all rows of a sequence: those of the step that belong to the session of a wanted
 * row. Sums run over rows ascending, an element at a time (docs/numerics.md). */

#include "common/math.h"
#include "gen/errors.h"
#include "image/reader.h"

#define CHUNK 64u /* columns that a hart takes at a time */

struct OP_BODY op_pool {
    struct op_f32 src;
    struct op_f32 dst;
    uint32_t kinds; /* a bit a IMAGE_POOL_KIND_*: their results side by side, the lowest first */
    uint32_t count; /* of kinds */
    uint32_t width;
};
_Static_assert(sizeof(struct op_pool) <= OP_BODY_BYTES, "see op.h");

/* y = x, the sequence's `seen`-th row, joined to what the rows before it made. */
static void pool_add(uint32_t kind, uint32_t seen, const float *x, uint32_t count, float *y)
{
    float place = kind == IMAGE_POOL_KIND_WEIGHTED_MEAN ? (float)(seen + 1) : 1.0f;
    for (uint32_t i = 0; i < count; i++)
        if (seen == 0 || kind == IMAGE_POOL_KIND_LAST)
            y[i] = x[i];
        else if (kind == IMAGE_POOL_KIND_MAX)
            y[i] = x[i] > y[i] ? x[i] : y[i];
        else if (kind != IMAGE_POOL_KIND_FIRST)
            y[i] = math_fma(x[i], place, y[i]);
}

/* What the sum of `seen` rows is divided by; 1 where nothing is summed. */
static float pool_divisor(uint32_t kind, uint32_t seen)
{
    float count = (float)seen;
    if (kind == IMAGE_POOL_KIND_MEAN)
        return count;
    if (kind == IMAGE_POOL_KIND_MEAN_SQRT)
        return math_sqrt(count);
    return kind == IMAGE_POOL_KIND_WEIGHTED_MEAN ? count * (count + 1.0f) * 0.5f : 1.0f;
}

/* `count` columns from k on of one kind, which is the `at`-th. */
static void pool_columns(const struct op_pool *p, const struct step *step, uint32_t wanted,
                         uint32_t kind, uint32_t at, uint32_t k, uint32_t count)
{
    uint32_t session = step->rows[step->logit_rows[wanted]].session, seen = 0;
    float y[CHUNK] = {0};
    for (uint32_t row = 0; row < step->row_count; row++)
        if (step->rows[row].session == session)
            pool_add(kind, seen++, op_f32_row(&p->src, row) + k, count, y);
    float divisor = pool_divisor(kind, seen);
    float *to = op_f32_row(&p->dst, wanted) + (size_t)at * p->width + k;
    for (uint32_t i = 0; i < count; i++)
        to[i] = y[i] / divisor;
}

static void op_pool(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_pool *p = op_body(op);
    uint32_t chunks = (p->width + CHUNK - 1) / CHUNK;
    for (uint32_t u = hart; u < step->logit_count * chunks; u += harts) {
        uint32_t k = u % chunks * CHUNK, count = p->width - k < CHUNK ? p->width - k : CHUNK;
        for (uint32_t kind = 0, at = 0; kind <= IMAGE_POOL_KIND_LAST; kind++)
            if (p->kinds >> kind & 1u)
                pool_columns(p, step, u / chunks, kind, at++, k, count);
    }
}

static int decode_pool(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_pool o = {.kinds = image_op_pool_kinds(p), .width = image_op_pool_width(p)};
    const uint8_t *src = p + IMAGE_OP_POOL_SRC_OFFSET, *dst = p + IMAGE_OP_POOL_DST_OFFSET;

    if (op->domain != IMAGE_DOMAIN_LOGIT_ROWS || !o.kinds ||
        o.kinds >> (IMAGE_POOL_KIND_LAST + 1u) || reader_check_width(o.width))
        return E_IMAGE_OP;
    for (uint32_t left = o.kinds; left; left &= left - 1u)
        o.count++;
    if (reader_read_f32_of(r, src, IMAGE_DOMAIN_ROWS, o.width, &o.src) ||
        reader_write_f32(r, dst, (uint64_t)o.count * o.width, &o.dst))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_pool = {.version = 1, .decode = decode_pool, .run = op_pool};
