/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

/* The harts as one pool that runs a function together, with a barrier.
 *
 * Static split: a function gets its hart's number and the number of harts and takes its own share.
 * Harts spin for a short while and then sleep by the port, so that a machine with fewer cores than
 * harts (QEMU on a laptop) is not slowed down by spinning.
 */

#include <stdint.h>

#include "common/port.h"

#define POOL_MAX_HARTS 16u

typedef void (*pool_fn)(void *context, uint32_t hart, uint32_t harts);

/* Before any other hart enters pool_worker(). */
void pool_init(const struct port *port);

/* Life of harts 1 to harts-1. Does not return. */
void pool_worker(uint32_t hart);

/* Hart 0: runs fn on every hart and returns when all are done. */
void pool_run(pool_fn fn, void *context);

/* Within fn: returns once every hart called it. All memory written before is seen after. */
void pool_barrier(uint32_t hart);

#endif
