/* SPDX-License-Identifier: Apache-2.0 */
/* A port over stdin and stdout around the fake engine: the whole device as a child process of a
 * test. */

#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "gen/errors.h"
#include "port/port.h"

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int readable(int timeout_ms)
{
    struct pollfd fd = {.fd = 0, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) > 0;
}

static int port_read(uint8_t *to, uint32_t size)
{
    if (!readable(0))
        return 0;
    ssize_t got = read(0, to, size);
    return got > 0 ? (int)got : E_IO;
}

static int port_write(const uint8_t *from, uint32_t size)
{
    while (size) {
        ssize_t put = write(1, from, size);
        if (put <= 0)
            return E_IO;
        from += put;
        size -= (uint32_t)put;
    }
    return 0;
}

static void port_idle(void)
{
    (void)readable(100);
}

static uint64_t none(void)
{
    return 0;
}

int main(void)
{
    const char *noise = getenv("FAKE_NOISE");
    for (const char *p = noise; p && *p; p++)
        (void)port_write((const uint8_t *)p, 1);
    struct port port = {
        .board = "fake",
        .isa = "none",
        .harts = 1,
        .memory = {.arena_size = 1 << 20},
        .read = port_read,
        .write = port_write,
        .idle = port_idle,
        .time_us = now_us,
        .instret = none,
        .cycles = none,
        .exit = exit,
    };
    device_run(&port);
    return 0;
}
