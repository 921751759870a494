/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_PORT_H
#define COMMON_PORT_H

/* What the firmware needs of the machine below it: one struct of operations and facts.
 *
 * There are two ports: bare metal (port/bare.c), and a process of Linux or of this machine
 * ("native", port/hosted.c). The port owns main(), fills one `struct port`, starts the harts and
 * calls device_run() on the first one. Engine, ops and link see nothing but this struct. Each
 * engine is given one, so a program that has several engines may have several ports.
 */

#include <stddef.h>
#include <stdint.h>

struct pool;

struct port_memory {
    const uint8_t *image; /* where a model image is expected; 64-byte aligned */
    uint64_t image_limit; /* bytes readable there; the image may be shorter */
    uint8_t *arena;       /* 64-byte aligned */
    uint64_t arena_size;
};

/* The slot of the medium that does not run, for a model that comes over the link. What can fail
 * returns 0 or E_IO. */
struct port_slot {
    uint64_t bytes; /* that it can hold; offset and size of a piece are within them */
    int (*read)(uint64_t offset, uint8_t *to, uint32_t size);
    int (*write)(uint64_t offset, const uint8_t *from, uint32_t size);

    /* The image of so many bytes was read back and is good: the next boots try it. */
    int (*finish)(uint64_t bytes);

    /* The image that runs has given a good answer: where it is on trial, it stays. */
    int (*confirm)(void);
};

struct port {
    const char *board;      /* name of the board's file, e.g. "visionfive2" */
    const char *isa;        /* what the firmware was compiled for, e.g. "rv64gcv" */
    uint32_t vlen;          /* bits of a vector register as read from the core; 0 without V */
    uint32_t harts;         /* harts running, the first included */
    struct pool *pool;      /* of these harts (common/pool.h) */
    uint32_t uart_clock_hz; /* 0 where the link is no UART */
    struct port_memory memory;

    /* Up to `size` received bytes into `to`, without waiting. Returns their number, 0 for none,
     * E_IO when the other end is gone for good (hosted ports only). */
    int (*read)(uint8_t *to, uint32_t size);

    /* All of `size` bytes to the line; waits until the transmitter took them. Returns 0 or E_IO. */
    int (*write)(const uint8_t *from, uint32_t size);

    /* Called when there is nothing to do but to await bytes: may sleep, may return early. */
    void (*idle)(void);

    /* Microseconds since some fixed moment; never runs backwards. */
    uint64_t (*time_us)(void);

    /* Retired instructions and cycles of the calling hart; 0 for ever where `counters` is 0. */
    uint64_t (*instret)(void);
    uint64_t (*cycles)(void);
    uint32_t counters;

    /* The calling hart of the port's pool sleeps until hart_wake() of it, or returns early.
     * Wake-ups before the sleep are kept. */
    void (*hart_sleep)(struct pool *pool, uint32_t hart);
    void (*hart_wake)(struct pool *pool, uint32_t hart);

    /* Ends the program or powers the machine off. Does not return. */
    void (*exit)(int code);

    /* Changes the rate of the line once all has been sent; NULL where it cannot be changed. `baud`
     * is the rate that it started with. */
    void (*set_baud)(uint32_t baud);
    uint32_t baud;

    /* Memory at memory.image that may be written, for an image that comes over the link; NULL where
     * there is none. */
    uint8_t *image_area;
    uint64_t image_area_size;

    const struct port_slot *slot; /* NULL where the firmware cannot write the medium */

    /* Breaks the machine as WIRE_FAILURE_* says, to try what then happens; NULL but in a firmware
     * built for that. */
    void (*fail)(uint32_t kind);
};

/* The whole device: boot report, image check, then serve the link for ever. Runs on hart 0 (the
 * first one, numbered from 0 in the order of starting) after the port brought up the others in
 * pool_worker(). */
void device_run(const struct port *port);

#endif
