/* SPDX-License-Identifier: Apache-2.0 */
/* A pool whose harts are fibers that take turns: up to a barrier first the last hart runs, then the
 * one before it. What depends on which hart is faster gives another result here than on one hart,
 * and the same one each time. */
#include <stdlib.h>
#include <ucontext.h>

#include <sanitizer/common_interface_defs.h>

#include "common/pool.h"
#include "port/hosted_harts.h"

/* More than any hart needs, and little enough that the sanitizer clears its shadow in place. */
#define STACK (1u << 17)

static const struct port *pool_port;

static struct fiber {
    ucontext_t context;
    char *stack;
    int done;
} fibers[POOL_MAX_HARTS];

static struct {
    ucontext_t context;
    const void *stack; /* of the caller, as the sanitizer names it */
    size_t size;
} home;

static pool_fn pool_function;
static void *pool_argument;
static uint32_t running;

static void leave(struct fiber *fiber, int last)
{
    void *fake = NULL;
    __sanitizer_start_switch_fiber(last ? NULL : &fake, home.stack, home.size);
    swapcontext(&fiber->context, &home.context);
    __sanitizer_finish_switch_fiber(fake, &home.stack, &home.size);
}

static void enter(struct fiber *fiber)
{
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, fiber->stack, STACK);
    swapcontext(&home.context, &fiber->context);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

static void fiber_main(void)
{
    uint32_t hart = running;
    __sanitizer_finish_switch_fiber(NULL, &home.stack, &home.size);
    pool_function(pool_argument, hart, pool_port->harts);
    fibers[hart].done = 1;
    leave(&fibers[hart], 1);
}

void pool_init(struct pool *pool, const struct port *port)
{
    (void)pool;
    pool_port = port;
}

void pool_barrier(struct pool *pool, uint32_t hart)
{
    (void)pool;
    if (pool_port->harts > 1)
        leave(&fibers[hart], 0);
}

void pool_run(struct pool *pool, pool_fn fn, void *context)
{
    (void)pool;
    uint32_t harts = pool_port->harts, left = harts;
    if (harts == 1) {
        fn(context, 0, 1);
        return;
    }
    pool_function = fn;
    pool_argument = context;
    for (uint32_t i = 0; i < harts; i++) {
        if (!fibers[i].stack)
            fibers[i].stack = malloc(STACK);
        fibers[i].done = 0;
        getcontext(&fibers[i].context);
        fibers[i].context.uc_stack.ss_sp = fibers[i].stack;
        fibers[i].context.uc_stack.ss_size = STACK;
        makecontext(&fibers[i].context, fiber_main, 0);
    }
    while (left)
        for (uint32_t i = harts; i-- > 0;)
            if (!fibers[i].done) {
                running = i;
                enter(&fibers[i]);
                left -= (uint32_t)fibers[i].done;
            }
}

/* There are no others to start. */
int hosted_start_harts(struct hosted_harts *harts, struct port *port)
{
    port->pool = &harts->pool;
    pool_init(port->pool, port);
    return 0;
}
