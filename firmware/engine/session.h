/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

/* Sessions and the pool of KV pages they share.
 *
 * A session of `length` positions holds, of each state, exactly the first min(ceil(length / 64),
 * pages) entries of its page table: what is held follows from the length alone, so that growing,
 * abandoning a step and rolling back are one operation, session_hold(). The pool is planned for
 * every session at its fullest, so taking a page cannot fail.
 *
 * A page is cleared as it is taken, and a token of the history as its position is first held: what
 * a session has as bytes was written by itself since it was empty, whoever had the memory before.
 */

#include <stdint.h>

#include "image/op.h"

struct session {
    uint32_t length; /* positions stepped and kept */
    uint32_t
        high; /* positions ever written since the session was empty, abandoned steps included */
    uint32_t *history; /* token at position p in entry p mod context */
};

struct sessions {
    struct session all[LIMIT_SESSIONS];
    uint32_t count;
    uint32_t context;
    struct step_state *states;
    uint32_t state_count;
    uint32_t *free; /* stack of free page numbers */
    uint32_t free_count;
    uint32_t *references; /* of each page; a page is free at 0 */
    uint8_t *pool;        /* the pages */
    uint64_t page_stride;
};

/* All sessions empty, all `pages` of the pool free. */
void session_init(struct sessions *sessions, uint32_t pages);

/* Pages of a state that so many positions of a session take. */
uint32_t session_pages(const struct step_state *state, uint32_t length);

/* Takes or gives back pages, so that the session, which holds pages for `from` positions, holds
 * them for `to`. */
void session_hold(struct sessions *sessions, uint32_t session, uint32_t from, uint32_t to);

/* Lengths below which the window of some state has been overwritten. Returns 0 or E_ROLLBACK. */
int session_check_rollback(const struct sessions *sessions, uint32_t session, uint32_t length);

/* The oldest position whose token is still in the history. */
uint32_t session_oldest(const struct sessions *sessions, uint32_t session);

#endif
