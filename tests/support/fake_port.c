/* SPDX-License-Identifier: Apache-2.0 */
/* A port over stdin and stdout around the fake engine: the whole device as a child process of a
 * test. */

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "flash/update.h"
#include "gen/errors.h"
#include "common/port.h"

/* FAKE_SLOW is how many times slower than the machine's the device's clock runs. */
static uint64_t now_us(void)
{
    const char *slow = getenv("FAKE_SLOW");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
    return slow ? us / strtoul(slow, NULL, 10) : us;
}

static int readable(int timeout_ms)
{
    struct pollfd fd = {.fd = 0, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) > 0;
}

/* With FAKE_BAUD set, each byte on the line has the rate that it was sent at before it, in units of
 * 9600 bits a second; at another rate it is heard as something else. */
static uint8_t rate;

static void set_baud(uint32_t baud)
{
    rate = (uint8_t)(baud / 9600u);
}

static int read_rated(uint8_t *to, uint32_t size)
{
    uint32_t got = 0;
    uint8_t pair[2];
    for (; got < size && readable(0); got++) {
        if (read(0, &pair[0], 1) != 1 || read(0, &pair[1], 1) != 1)
            return E_IO;
        to[got] = pair[0] == rate ? pair[1] : (uint8_t)(pair[1] & 0x1eu);
    }
    return (int)got;
}

static int port_read(uint8_t *to, uint32_t size)
{
    if (rate)
        return read_rated(to, size);
    if (!readable(0))
        return 0;
    ssize_t got = read(0, to, size);
    return got > 0 ? (int)got : E_IO;
}

static int write_rated(const uint8_t *from, uint32_t size)
{
    uint8_t pairs[2048];
    for (uint32_t i = 0; i < size; i++) {
        pairs[2u * i] = rate;
        pairs[2u * i + 1u] = from[i];
    }
    return write(1, pairs, 2u * size) == (ssize_t)(2u * size) ? 0 : E_IO;
}

static int port_write(const uint8_t *from, uint32_t size)
{
    if (rate)
        return write_rated(from, size);
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

/* With FAKE_DISK set, that file is a medium: the selector's copies at its start, then two slots. */
#define SLOT_SECTORS 400u

static int disk;
static uint8_t image_area[SLOT_SECTORS * SELECTOR_SECTOR_BYTES];

static int sector_read(void *context, uint64_t sector, uint8_t *to)
{
    (void)context;
    off_t at = (off_t)(sector * SELECTOR_SECTOR_BYTES);
    return pread(disk, to, SELECTOR_SECTOR_BYTES, at) == SELECTOR_SECTOR_BYTES ? 0 : E_IO;
}

static int sector_write(void *context, uint64_t sector, const uint8_t *from)
{
    (void)context;
    off_t at = (off_t)(sector * SELECTOR_SECTOR_BYTES);
    return pwrite(disk, from, SELECTOR_SECTOR_BYTES, at) == SELECTOR_SECTOR_BYTES ? 0 : E_IO;
}

static int sector_sync(void *context)
{
    (void)context;
    return 0;
}

static const struct port_slot *slot_open(const char *path)
{
    static const struct update_medium medium = {
        .read = sector_read,
        .write = sector_write,
        .sync = sector_sync,
        .start = {SELECTOR_COPIES * SELECTOR_COPY_STRIDE / SELECTOR_SECTOR_BYTES,
                  SELECTOR_COPIES * SELECTOR_COPY_STRIDE / SELECTOR_SECTOR_BYTES + SLOT_SECTORS},
        .sectors = {SLOT_SECTORS, SLOT_SECTORS},
    };
    const char *running = getenv("FAKE_SLOT");
    if (!path)
        return NULL;
    disk = open(path, O_RDWR);
    return update_slot(&medium, running ? (uint32_t)atoi(running) : 0);
}

static uint64_t none(void)
{
    return 0;
}

int main(void)
{
    uint32_t baud = getenv("FAKE_BAUD") ? 115200u : 0;
    set_baud(baud);
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
        .uart_clock_hz = baud ? 24000000u : 0,
        .baud = baud,
        .set_baud = baud ? set_baud : NULL,
        .slot = slot_open(getenv("FAKE_DISK")),
    };
    if (port.slot) {
        port.image_area = image_area;
        port.image_area_size = sizeof image_area;
    }
    device_run(&port);
    return 0;
}
