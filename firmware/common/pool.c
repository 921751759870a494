/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pool.h"

#include <stddef.h>

/* Long enough for the gap between two ops, short enough not to starve a simulator's other harts. */
#define POOL_SPINS 2000u

static inline uint32_t load(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static inline void store(uint32_t *p, uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

static inline void relax(void)
{
#if defined(__riscv)
    __asm__ volatile(
        ".insn i 0x0f, 0, x0, x0, 0x010"); /* pause; a plain fence where Zihintpause is missing */
#elif defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Returns once *word differs from `old`. The hart announces its sleep before it looks a last time,
 * and a waker writes the word before it looks for sleepers, so one of the two always sees the
 * other. */
static void pool_wait(struct pool *pool, const uint32_t *word, uint32_t old, uint32_t hart)
{
    for (uint32_t i = 0; i < POOL_SPINS; i++) {
        if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != old)
            return;
        relax();
    }
    store(&pool->sleeping[hart], 1);
    __atomic_add_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
    while (load(word) == old)
        pool->port->hart_sleep(pool, hart);
    __atomic_sub_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
    store(&pool->sleeping[hart], 0);
}

static void pool_wake(struct pool *pool, uint32_t waker)
{
    if (load(&pool->sleepers) == 0)
        return;
    for (uint32_t i = 0; i < pool->port->harts; i++)
        if (i != waker && load(&pool->sleeping[i]))
            pool->port->hart_wake(pool, i);
}

void pool_init(struct pool *pool, const struct port *port)
{
    pool->port = port;
    pool->arrived = 0;
    store(&pool->generation, 0);
    store(&pool->barriers, 0);
    store(&pool->sleepers, 0);
    for (uint32_t i = 0; i < POOL_MAX_HARTS; i++)
        store(&pool->sleeping[i], 0);
}

void pool_barrier(struct pool *pool, uint32_t hart)
{
    uint32_t harts = pool->port->harts;
    if (harts == 1)
        return;
    /* It cannot change before this hart arrives. */
    uint32_t completed = load(&pool->barriers);
    if (__atomic_add_fetch(&pool->arrived, 1, __ATOMIC_SEQ_CST) < harts) {
        pool_wait(pool, &pool->barriers, completed, hart);
        return;
    }
    __atomic_store_n(&pool->arrived, 0, __ATOMIC_RELAXED);
    store(&pool->barriers, completed + 1);
    pool_wake(pool, hart);
}

void pool_worker(struct pool *pool, uint32_t hart)
{
    for (uint32_t seen = 0;; seen++) {
        pool_wait(pool, &pool->generation, seen, hart);
        pool->fn(pool->context, hart, pool->port->harts);
        pool_barrier(pool, hart);
    }
}

void pool_run(struct pool *pool, pool_fn fn, void *context)
{
    if (pool->port->harts > 1) {
        pool->fn = fn;
        pool->context = context;
        store(&pool->generation, pool->generation + 1);
        pool_wake(pool, 0);
    }
    fn(context, 0, pool->port->harts);
    pool_barrier(pool, 0);
}
