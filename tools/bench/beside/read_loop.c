/* SPDX-License-Identifier: Apache-2.0 */
/* The speed of memory: reads a buffer again and again, each thread its own part of it.
 *
 * usage: read_loop BYTES THREADS PASSES
 * Prints a line for each pass: its wall seconds, and processor seconds of its slowest thread.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MOST_THREADS 64
#define HUGE_PAGE    (2ul << 20)
#define STREAMS      8 /* lines that are read side by side, each with its own sum */

typedef uint64_t line __attribute__((vector_size(64)));

static struct {
    const line *data;
    size_t lines, passes;
    unsigned threads;
    pthread_barrier_t barrier;
    double busy[MOST_THREADS];
    uint64_t sums[MOST_THREADS];
} all;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t read_lines(const line *from, size_t count)
{
    line sums[STREAMS] = {0};
    for (size_t i = 0; i + STREAMS <= count; i += STREAMS)
        for (size_t s = 0; s < STREAMS; s++)
            sums[s] ^= from[i + s];
    uint64_t sum = 0;
    for (size_t s = 0; s < STREAMS; s++)
        for (size_t i = 0; i < sizeof(line) / 8; i++)
            sum ^= sums[s][i];
    return sum;
}

static void print_pass(double start)
{
    double wall = now(CLOCK_MONOTONIC) - start, busy = 0;
    for (unsigned i = 0; i < all.threads; i++)
        busy = all.busy[i] > busy ? all.busy[i] : busy;
    printf("%.6f %.6f\n", wall, busy);
}

static void *read_passes(void *argument)
{
    unsigned me = (unsigned)(uintptr_t)argument;
    size_t part = all.lines / all.threads;
    for (size_t pass = 0; pass < all.passes; pass++) {
        pthread_barrier_wait(&all.barrier);
        double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
        all.sums[me] += read_lines(all.data + me * part, part);
        all.busy[me] = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
        pthread_barrier_wait(&all.barrier);
        if (me == 0)
            print_pass(start);
    }
    return NULL;
}

/* A buffer on huge pages where the machine has them, every page written, so that none is shared. */
static line *make_buffer(size_t bytes)
{
    size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    line *data = aligned_alloc(HUGE_PAGE, whole);
    if (!data)
        return NULL;
    madvise(data, whole, MADV_HUGEPAGE);
    memset(data, 1, whole);
    return data;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t bytes = strtoull(argv[1], NULL, 10);
    all.threads = (unsigned)atoi(argv[2]);
    all.passes = strtoull(argv[3], NULL, 10);
    all.lines = bytes / sizeof(line);
    if (!all.lines || !all.threads || all.threads > MOST_THREADS)
        return 2;
    all.data = make_buffer(bytes);
    if (!all.data)
        return 2;
    pthread_t threads[MOST_THREADS];
    pthread_barrier_init(&all.barrier, NULL, all.threads);
    for (uintptr_t i = 1; i < all.threads; i++)
        if (pthread_create(&threads[i], NULL, read_passes, (void *)i))
            return 1;
    read_passes(NULL);
    uint64_t sum = all.sums[0];
    for (unsigned i = 1; i < all.threads; i++) {
        pthread_join(threads[i], NULL);
        sum += all.sums[i];
    }
    fprintf(stderr, "%llx\n", (unsigned long long)sum); /* so that the reading is not left out */
    return 0;
}
