/* SPDX-License-Identifier: Apache-2.0 */
/* The pool under load, with more harts than cores: prints "ok", or what a hart saw wrong.
 * usage: pool_stress HARTS ROUNDS {calm|early}    early: hart_sleep() returns at once every other
 * time */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pool.h"
#include "port/hosted_harts.h"

#define PHASES 3

static struct port port;
static struct hosted_harts harts_of_port;
static uint32_t written[POOL_MAX_HARTS][PHASES];
static uint32_t wrong;
static uint32_t entered;
static void (*real_sleep)(struct pool *pool, uint32_t hart);

static void early_sleep(struct pool *pool, uint32_t hart)
{
    static uint32_t calls;
    if (__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) % 2)
        real_sleep(pool, hart);
}

static void work(void *context, uint32_t hart, uint32_t harts)
{
    uint32_t round = *(uint32_t *)context;
    __atomic_add_fetch(&entered, 1, __ATOMIC_RELAXED);
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        written[hart][phase] = round;
        pool_barrier(port.pool, hart);
        for (uint32_t i = 0; i < harts; i++)
            if (written[i][phase] != round)
                __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    uint32_t rounds = (uint32_t)atoi(argv[2]);
    port.harts = (uint32_t)atoi(argv[1]);
    if (hosted_start_harts(&harts_of_port, &port))
        return 3;
    real_sleep = port.hart_sleep;
    if (!strcmp(argv[3], "early"))
        port.hart_sleep = early_sleep;
    for (uint32_t round = 1; round <= rounds; round++)
        pool_run(port.pool, work, &round);
    if (wrong || entered != rounds * port.harts)
        printf("%u reads before the barrier, %u of %u calls\n", wrong, entered,
               rounds * port.harts);
    else
        puts("ok");
    return 0;
}
