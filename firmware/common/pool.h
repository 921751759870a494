/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

/* The harts of a port as one pool that runs a function together, with a barrier.
 *
 * Static split: a function gets its hart's number and the number of harts and takes its own share.
 * Harts spin for a short while and then sleep by the port, so that a machine with fewer cores than
 * harts (QEMU on a laptop) is not slowed down by spinning.
 */

#include <stdint.h>

#include "common/port.h"

#define POOL_MAX_HARTS  16u
#define POOL_CACHE_LINE 64

typedef void (*pool_fn)(void *context, uint32_t hart, uint32_t harts);

/* A line each for what is written at different times: what a hart spins on is written once a
 * barrier, and while no hart sleeps, a waker finds `sleepers` in its own cache. The memory is the
 * port's, the fields are this file's. */
struct pool {
    const struct port *port;
    _Alignas(POOL_CACHE_LINE) uint32_t generation; /* counts pool_run() calls */
    pool_fn fn;
    void *context;
    _Alignas(POOL_CACHE_LINE) uint32_t arrived;  /* harts in the barrier */
    _Alignas(POOL_CACHE_LINE) uint32_t barriers; /* counts completed ones */
    _Alignas(POOL_CACHE_LINE) uint32_t sleepers; /* harts that may be in port->hart_sleep() ... */
    uint32_t sleeping[POOL_MAX_HARTS];           /* ... and which */
};

/* Before any other hart enters pool_worker(). */
void pool_init(struct pool *pool, const struct port *port);

/* Life of harts 1 to harts-1. Does not return. */
void pool_worker(struct pool *pool, uint32_t hart);

/* Hart 0: runs fn on every hart and returns when all are done. */
void pool_run(struct pool *pool, pool_fn fn, void *context);

/* Within fn: returns once every hart called it. All memory written before is seen after. */
void pool_barrier(struct pool *pool, uint32_t hart);

#endif
