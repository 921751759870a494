/* SPDX-License-Identifier: Apache-2.0 */
#include "port/hosted_harts.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "engine/pool.h"
#include "gen/errors.h"

/* One a hart: a wake-up before the sleep stays in `woken`. */
static struct hosted_hart {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool woken;
} harts[POOL_MAX_HARTS];

static void hart_sleep(uint32_t hart)
{
    struct hosted_hart *h = &harts[hart];
    pthread_mutex_lock(&h->lock);
    while (!h->woken)
        pthread_cond_wait(&h->wake, &h->lock);
    h->woken = false;
    pthread_mutex_unlock(&h->lock);
}

static void hart_wake(uint32_t hart)
{
    struct hosted_hart *h = &harts[hart];
    pthread_mutex_lock(&h->lock);
    h->woken = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
}

static uint64_t time_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void *hart_main(void *argument)
{
    pool_worker((uint32_t)(uintptr_t)argument);
    return NULL;
}

int hosted_start_harts(struct port *port)
{
    port->hart_sleep = hart_sleep;
    port->hart_wake = hart_wake;
    port->time_us = time_us;
    for (uint32_t i = 0; i < POOL_MAX_HARTS; i++) {
        pthread_mutex_init(&harts[i].lock, NULL);
        pthread_cond_init(&harts[i].wake, NULL);
        harts[i].woken = false;
    }
    pool_init(port);
    for (uint32_t i = 1; i < port->harts; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, hart_main, (void *)(uintptr_t)i))
            return E_HART;
        pthread_detach(thread);
    }
    return 0;
}
