/* SPDX-License-Identifier: Apache-2.0 */
#include "port/hosted_harts.h"

#include <time.h>

#include "gen/errors.h"

static struct hosted_hart *find_hart(struct pool *pool, uint32_t hart)
{
    return &((struct hosted_harts *)(void *)pool)->all[hart];
}

static void hart_sleep(struct pool *pool, uint32_t hart)
{
    struct hosted_hart *h = find_hart(pool, hart);
    pthread_mutex_lock(&h->lock);
    while (!h->woken)
        pthread_cond_wait(&h->wake, &h->lock);
    h->woken = false;
    pthread_mutex_unlock(&h->lock);
}

static void hart_wake(struct pool *pool, uint32_t hart)
{
    struct hosted_hart *h = find_hart(pool, hart);
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
    struct hosted_hart *h = argument;
    pool_worker(h->pool, h->number);
    return NULL;
}

int hosted_start_harts(struct hosted_harts *harts, struct port *port)
{
    port->pool = &harts->pool;
    port->hart_sleep = hart_sleep;
    port->hart_wake = hart_wake;
    port->time_us = time_us;
    for (uint32_t i = 0; i < POOL_MAX_HARTS; i++) {
        struct hosted_hart *h = &harts->all[i];
        pthread_mutex_init(&h->lock, NULL);
        pthread_cond_init(&h->wake, NULL);
        h->woken = false;
        h->pool = port->pool;
        h->number = i;
    }
    pool_init(port->pool, port);
    for (uint32_t i = 1; i < port->harts; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, hart_main, &harts->all[i]))
            return E_HART;
        pthread_detach(thread);
    }
    return 0;
}

size_t hosted_harts_bytes(void)
{
    return sizeof(struct hosted_harts);
}
