/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/pool.h"

#include <stddef.h>

/* Long enough for the gap between two ops, short enough not to starve a simulator's other harts. */
#define POOL_SPINS 2000u
#define CACHE_LINE 64

/* Written by its own hart alone, but for `awake`'s last word, which a waker reads: one line each,
 * or the barrier costs the harts a bus transfer for every neighbour. */
struct pool_hart {
    _Alignas(CACHE_LINE) uint32_t sleeping; /* 1 while the hart may be in port->hart_sleep() */
    uint32_t sense;                         /* barrier generation the hart waits for next */
};

static struct {
    const struct port *port;
    _Alignas(CACHE_LINE) uint32_t generation; /* counts pool_run() calls */
    pool_fn fn;
    void *context;
    _Alignas(CACHE_LINE) uint32_t arrived; /* harts in the barrier */
    _Alignas(CACHE_LINE) uint32_t sense;   /* counts completed barriers */
    struct pool_hart hart[POOL_MAX_HARTS];
} pool;

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
static void pool_wait(const uint32_t *word, uint32_t old, uint32_t hart)
{
    for (uint32_t i = 0; i < POOL_SPINS; i++) {
        if (load(word) != old)
            return;
        relax();
    }
    store(&pool.hart[hart].sleeping, 1);
    while (load(word) == old)
        pool.port->hart_sleep(hart);
    store(&pool.hart[hart].sleeping, 0);
}

static void pool_wake(uint32_t waker)
{
    for (uint32_t i = 0; i < pool.port->harts; i++)
        if (i != waker && load(&pool.hart[i].sleeping))
            pool.port->hart_wake(i);
}

void pool_init(const struct port *port)
{
    pool.port = port;
    pool.arrived = 0;
    store(&pool.generation, 0);
    store(&pool.sense, 0);
    for (uint32_t i = 0; i < POOL_MAX_HARTS; i++)
        pool.hart[i] = (struct pool_hart){0, 0};
}

void pool_barrier(uint32_t hart)
{
    uint32_t harts = pool.port->harts;
    if (harts == 1)
        return;
    uint32_t sense = pool.hart[hart].sense;
    pool.hart[hart].sense = sense + 1;
    if (__atomic_add_fetch(&pool.arrived, 1, __ATOMIC_SEQ_CST) < harts) {
        pool_wait(&pool.sense, sense, hart);
        return;
    }
    store(&pool.arrived, 0);
    store(&pool.sense, sense + 1);
    pool_wake(hart);
}

void pool_worker(uint32_t hart)
{
    for (uint32_t seen = 0;; seen++) {
        pool_wait(&pool.generation, seen, hart);
        pool.fn(pool.context, hart, pool.port->harts);
        pool_barrier(hart);
    }
}

void pool_run(pool_fn fn, void *context)
{
    if (pool.port->harts > 1) {
        pool.fn = fn;
        pool.context = context;
        store(&pool.generation, pool.generation + 1);
        pool_wake(0);
    }
    fn(context, 0, pool.port->harts);
    pool_barrier(0);
}
