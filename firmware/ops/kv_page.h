/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPS_KV_PAGE_H
#define OPS_KV_PAGE_H

/* What lies where in a page of 64 positions.
 *
 * KV8:
 * - keys, int8 [kv_heads][head_dim][64]: positions as lanes, so that scores need no reduction
 * - values, int8 [kv_heads][64][head_dim]: dimensions as lanes, for the same reason
 * - scales, f32 [kv_heads][64] of keys, then [kv_heads][64] of values
 *
 * F32:
 * - keys, f32 [kv_heads][64][head_dim]
 * - values, f32 [kv_heads][64][head_dim]
 *
 * The size is page_bytes() of host/schema/image.py. head_dim is a multiple of 8, so all parts are
 * aligned to 64 bytes and rows of int8 to 8.
 */

#include "image/op.h"

#define KV_PAGE_TOKENS IMAGE_PAGE_TOKENS

/* Values of one KV head in keys or values. */
static inline size_t kv_page_head(const struct step_state *s)
{
    return (size_t)KV_PAGE_TOKENS * s->head_dim;
}

static inline int8_t *kv_page_keys_i8(const struct step_state *s, uint8_t *page, uint32_t head)
{
    return (int8_t *)page + head * kv_page_head(s);
}

static inline int8_t *kv_page_values_i8(const struct step_state *s, uint8_t *page, uint32_t head)
{
    return (int8_t *)page + (s->kv_heads + head) * kv_page_head(s);
}

static inline float *kv_page_key_scales(const struct step_state *s, uint8_t *page, uint32_t head)
{
    float *scales = (float *)(void *)(page + 2 * s->kv_heads * kv_page_head(s));
    return scales + head * KV_PAGE_TOKENS;
}

static inline float *kv_page_value_scales(const struct step_state *s, uint8_t *page, uint32_t head)
{
    return kv_page_key_scales(s, page, s->kv_heads + head);
}

static inline float *kv_page_keys_f32(const struct step_state *s, uint8_t *page, uint32_t head)
{
    return (float *)(void *)page + head * kv_page_head(s);
}

static inline float *kv_page_values_f32(const struct step_state *s, uint8_t *page, uint32_t head)
{
    return kv_page_keys_f32(s, page, s->kv_heads + head);
}

#endif
