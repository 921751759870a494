/* SPDX-License-Identifier: Apache-2.0 */
/* States of an image and the memory they imply: page_bytes(), state_pages() and runtime_bytes() of
 * host/schema/image.py, computed again. */
#include "common/checked.h"
#include "image/image.h"
#include "gen/errors.h"

static uint64_t page_bytes(const struct step_state *state)
{
    uint64_t vectors = 2ull * state->kv_heads * IMAGE_PAGE_TOKENS;
    uint64_t values = vectors * state->head_dim;

    if (state->format == IMAGE_FORMAT_F32)
        return values * 4;
    return checked_align(values, 64) + vectors * 4;
}

static uint64_t state_pages(const struct image_plan *plan, const struct step_state *state)
{
    uint64_t whole = checked_ceil(plan->context, IMAGE_PAGE_TOKENS);
    uint64_t ring = checked_ceil((uint64_t)state->window + plan->max_rows, IMAGE_PAGE_TOKENS) + 1 +
                    state->sink_pages;

    if (!state->window)
        return whole;
    return plan->overflow == IMAGE_OVERFLOW_STOP && whole < ring ? whole : ring;
}

static int check_state_shape(const struct image_plan *plan, const struct step_state *state)
{
    if (state->format != IMAGE_FORMAT_F32 && state->format != IMAGE_FORMAT_KV8)
        return E_IMAGE_NEW;
    if (!state->kv_heads || !state->head_dim || state->head_dim % 8)
        return E_IMAGE_STATE;
    if (state->head_dim > LIMIT_HEAD_DIM || state->kv_heads > LIMIT_WIDTH / LIMIT_HEAD_DIM)
        return E_IMAGE_LIMIT;
    if (state->window > LIMIT_POSITION || state->sinks > plan->context)
        return E_IMAGE_STATE;
    /* Without a window every position stays attended to, and none may be overwritten. */
    if (plan->overflow == IMAGE_OVERFLOW_SLIDE && (!state->window || state->window > plan->context))
        return E_IMAGE_STATE;
    return 0;
}

static int read_state(const uint8_t *p, const struct image_plan *plan, struct step_state *state)
{
    int error;

    if (image_state_kind(p) != IMAGE_STATE_KIND_KV_PAGES ||
        !image_is_zero(p, IMAGE_STATE_RESERVED_OFFSET, IMAGE_STATE_SIZE))
        return E_IMAGE_NEW;
    state->format = image_state_format(p);
    state->kv_heads = image_state_kv_heads(p);
    state->head_dim = image_state_head_dim(p);
    state->window = image_state_window(p);
    state->sinks = image_state_sinks(p);
    state->pages = image_state_pages(p);
    state->page_bytes = image_state_page_bytes(p);
    state->table = 0;
    error = check_state_shape(plan, state);
    if (error)
        return error;
    state->sink_pages = (uint32_t)checked_ceil(state->sinks, IMAGE_PAGE_TOKENS);
    if (state->pages != state_pages(plan, state) || state->page_bytes != page_bytes(state))
        return E_IMAGE_STATE;
    return 0;
}

static uint64_t runtime_bytes(const struct image_plan *plan)
{
    uint64_t tables = 3 * checked_align(plan->pages * 4, 64);
    uint64_t histories = plan->sessions * checked_align((uint64_t)plan->context * 4, 64);
    uint64_t sampler = checked_align((uint64_t)plan->vocab * 8, 64);

    return checked_add(tables + histories + sampler, checked_mul(plan->pages, plan->page_stride));
}

int image_read_states(const struct image *image, struct image_plan *plan, struct step_state *states,
                      uint64_t *detail)
{
    const uint8_t *p = image->parts[IMAGE_SECTION_ID_STATES].data;

    plan->pages = 0;
    plan->page_stride = 0;
    for (uint32_t i = 0; i < plan->state_count; i++) {
        int error = read_state(p + i * IMAGE_STATE_SIZE, plan, &states[i]);
        uint64_t stride;
        *detail = i;
        if (error)
            return error;
        stride = checked_align(states[i].page_bytes, 64);
        plan->pages += (uint64_t)states[i].pages * plan->sessions;
        plan->page_stride = stride > plan->page_stride ? stride : plan->page_stride;
    }
    *detail = IMAGE_SECTION_ID_PLAN;
    /* Page numbers are u32 in the tables. */
    if (plan->pages > UINT32_MAX / 4)
        return E_IMAGE_LIMIT;
    return plan->runtime_bytes == runtime_bytes(plan) ? 0 : E_IMAGE_PLAN;
}
