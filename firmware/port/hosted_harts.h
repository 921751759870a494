/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_HOSTED_HARTS_H
#define PORT_HOSTED_HARTS_H

/* Harts as threads, for Linux and native and for the library that tests load. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/port.h"
#include "common/pool.h"

/* One a hart: a wake-up before the sleep stays in `woken`. */
struct hosted_hart {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool woken;
    uint32_t number;
    struct pool *pool;
};

/* The harts of one port. The caller's memory, which has to stay for ever: the threads never end. */
struct hosted_harts {
    struct pool pool; /* first: the port's operations find the rest by it */
    struct hosted_hart all[POOL_MAX_HARTS];
};

/* Sets the port's pool, hart and time operations and starts harts 1 to port->harts - 1 in
 * pool_worker(); whoever calls pool_run() is hart 0. Once a port. Returns 0, or E_HART where a
 * thread did not start. */
int hosted_start_harts(struct hosted_harts *harts, struct port *port);

/* Bytes of a struct hosted_harts, for who cannot include this; it is aligned to 64. */
size_t hosted_harts_bytes(void);

#endif
