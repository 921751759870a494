/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/session.h"

#include <string.h>

#include "gen/errors.h"
#include "gen/image_format.h"

static uint32_t page_take(struct sessions *s)
{
    uint32_t page = s->free[--s->free_count];

    s->references[page] = 1;
    memset(s->pool + page * s->page_stride, 0, s->page_stride);
    return page;
}

static void page_release(struct sessions *s, uint32_t page)
{
    if (--s->references[page] == 0)
        s->free[s->free_count++] = page;
}

uint32_t session_pages(const struct step_state *state, uint32_t length)
{
    uint32_t pages = (length + IMAGE_PAGE_TOKENS - 1) / IMAGE_PAGE_TOKENS;

    return pages < state->pages ? pages : state->pages;
}

void session_init(struct sessions *s, uint32_t pages)
{
    for (uint32_t i = 0; i < s->count; i++) {
        s->all[i].length = 0;
        s->all[i].high = 0;
    }
    /* Pages are taken in ascending order, so that a young session lies together in memory. */
    for (uint32_t i = 0; i < pages; i++) {
        s->free[i] = pages - 1 - i;
        s->references[i] = 0;
    }
    s->free_count = pages;
}

void session_hold(struct sessions *s, uint32_t session, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < s->state_count; i++) {
        struct step_state *state = &s->states[i];
        uint32_t *table = state->table + (uint64_t)session * state->pages;
        uint32_t held = session_pages(state, from), wanted = session_pages(state, to);
        for (; held < wanted; held++)
            table[held] = page_take(s);
        for (; held > wanted; held--)
            page_release(s, table[held - 1]);
    }
}

/* A slot of the ring is shared by positions `ring` apart, and the youngest written has it. */
static int window_is_whole(const struct step_state *state, uint32_t length, uint32_t high)
{
    uint32_t ring = (state->pages - state->sink_pages) * IMAGE_PAGE_TOKENS;
    uint32_t oldest = length < state->window ? 0 : length - state->window + 1;

    if (oldest < state->sink_pages * IMAGE_PAGE_TOKENS)
        oldest = state->sink_pages * IMAGE_PAGE_TOKENS;
    return oldest + ring >= high;
}

int session_check_rollback(const struct sessions *s, uint32_t session, uint32_t length)
{
    if (length == 0)
        return 0;
    for (uint32_t i = 0; i < s->state_count; i++)
        if (!window_is_whole(&s->states[i], length, s->all[session].high))
            return E_ROLLBACK;
    return 0;
}

uint32_t session_oldest(const struct sessions *s, uint32_t session)
{
    uint32_t high = s->all[session].high;

    return high > s->context ? high - s->context : 0;
}
