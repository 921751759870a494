/* SPDX-License-Identifier: Apache-2.0 */

/* Keys and values of the step's rows into their sessions' pages. */

#include "gen/errors.h"
#include "image/reader.h"
#include "ops/kv_page.h"

struct OP_BODY op_kv_store {
    struct op_f32 k;
    struct op_f32 v;
    uint32_t state;
};
_Static_assert(sizeof(struct op_kv_store) <= OP_BODY_BYTES, "see op.h");

static void store_i8(const struct step_state *s, uint8_t *page, uint32_t head, uint32_t slot,
                     const float *k, const float *v)
{
    int8_t *keys = kv_page_keys_i8(s, page, head) + slot;
    int8_t *values = kv_page_values_i8(s, page, head) + (size_t)slot * s->head_dim;
    kv_page_key_scales(s, page, head)[slot] =
        kernels.quantize_head(k, s->head_dim, keys, KV_PAGE_TOKENS);
    kv_page_value_scales(s, page, head)[slot] = kernels.quantize_head(v, s->head_dim, values, 1);
}

static void store_f32(const struct step_state *s, uint8_t *page, uint32_t head, uint32_t slot,
                      const float *k, const float *v)
{
    size_t offset = (size_t)slot * s->head_dim;
    __builtin_memcpy(kv_page_keys_f32(s, page, head) + offset, k, s->head_dim * sizeof(float));
    __builtin_memcpy(kv_page_values_f32(s, page, head) + offset, v, s->head_dim * sizeof(float));
}

static void op_kv_store(const struct op *op, const struct step *step, uint32_t hart, uint32_t harts)
{
    const struct op_kv_store *o = op_body(op);
    const struct step_state *s = &step->states[o->state];
    /* Head by head, for neighbouring positions of a key share cache lines. */
    uint32_t rows = step->row_count, units = rows * s->kv_heads;
    for (uint32_t u = units * hart / harts; u < units * (hart + 1) / harts; u++) {
        uint32_t row = u % rows, head = u / rows;
        const struct step_row *r = &step->rows[row];
        uint8_t *page = step_page(step, s, r->session, r->position);
        const float *k = op_f32_row(&o->k, row) + head * s->head_dim;
        const float *v = op_f32_row(&o->v, row) + head * s->head_dim;
        if (s->format == IMAGE_FORMAT_KV8)
            store_i8(s, page, head, r->position % KV_PAGE_TOKENS, k, v);
        else
            store_f32(s, page, head, r->position % KV_PAGE_TOKENS, k, v);
    }
}

static int decode_kv_store(struct reader *r, const uint8_t *p, struct op *op)
{
    struct op_kv_store o = {.state = image_op_kv_store_state(p)};
    const struct step_state *state;
    uint64_t width;

    if (op->domain != IMAGE_DOMAIN_ROWS || reader_write_state(r, o.state, &state))
        return E_IMAGE_OP;
    width = (uint64_t)state->kv_heads * state->head_dim;
    if (reader_read_f32(r, p + IMAGE_OP_KV_STORE_K_OFFSET, width, &o.k) ||
        reader_read_f32(r, p + IMAGE_OP_KV_STORE_V_OFFSET, width, &o.v))
        return E_IMAGE_OP;
    return op_put(op, &o, sizeof o);
}

const struct op_kind op_kind_kv_store = {
    .version = 1, .decode = decode_kv_store, .run = op_kv_store};
