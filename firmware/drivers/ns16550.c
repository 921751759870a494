/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers/ns16550.h"

#include <stdbool.h>

#include "drivers/mmio.h"

enum {
    REG_DATA = 0, /* with DLAB: divisor, low */
    REG_IER = 1,  /* with DLAB: divisor, high */
    REG_FCR = 2,
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
};

#define LCR_8N1  0x03
#define LCR_DLAB 0x80
/* Spike delivers nothing before bit 0 is set. The trigger of 14 bytes is for an interrupt that is
 * not enabled, but QEMU has no more than that many wait in the FIFO. */
#define FCR_ON_CLEAR 0xc7
#define MCR_DTR_RTS  0x03
#define LSR_RECEIVED 0x01
#define LSR_ROOM     0x20
#define LSR_SENT     0x40
#define FIFO_BYTES   16
#define LCR_TRIES    100000u

static void put(const struct ns16550 *uart, uint32_t reg, uint32_t value)
{
    uintptr_t at = uart->base + (reg << uart->shift);
    if (uart->width == 4)
        mmio_put_u32(at, value);
    else
        mmio_put_u8(at, (uint8_t)value);
}

static uint32_t get(const struct ns16550 *uart, uint32_t reg)
{
    uintptr_t at = uart->base + (reg << uart->shift);
    return uart->width == 4 ? mmio_u32(at) : mmio_u8(at);
}

/* A dw-apb-uart ignores LCR while it is busy: while it sends or receives, and with bytes that
 * nobody has read. Returns whether it took the value in the end. */
static bool put_lcr(const struct ns16550 *uart, uint32_t value)
{
    for (uint32_t i = 0; i < LCR_TRIES; i++) {
        put(uart, REG_LCR, value);
        if (get(uart, REG_LCR) == value)
            return true;
        put(uart, REG_FCR, FCR_ON_CLEAR);
        (void)get(uart, REG_DATA);
    }
    return false;
}

void ns16550_init(const struct ns16550 *uart, uint32_t clock, uint32_t baud)
{
    ns16550_flush(uart);
    put(uart, REG_IER, uart->enable);
    /* Without DLAB the divisor would be sent as characters. */
    if (clock && put_lcr(uart, LCR_DLAB | LCR_8N1)) {
        uint32_t divisor = (clock + 8 * baud) / (16 * baud);
        put(uart, REG_DATA, divisor & 0xff);
        put(uart, REG_IER, divisor >> 8 & 0xff);
    }
    put_lcr(uart, LCR_8N1);
    put(uart, REG_FCR, FCR_ON_CLEAR);
    put(uart, REG_MCR, MCR_DTR_RTS);
}

uint32_t ns16550_read(const struct ns16550 *uart, uint8_t *to, uint32_t size)
{
    uint32_t got = 0;
    while (got < size && get(uart, REG_LSR) & LSR_RECEIVED)
        to[got++] = (uint8_t)get(uart, REG_DATA);
    return got;
}

void ns16550_write(const struct ns16550 *uart, const uint8_t *from, uint32_t size)
{
    while (size) {
        while (!(get(uart, REG_LSR) & LSR_ROOM))
            ;
        /* "Room" means an empty FIFO. */
        for (uint32_t i = 0; i < FIFO_BYTES && size; i++, size--)
            put(uart, REG_DATA, *from++);
    }
}

void ns16550_flush(const struct ns16550 *uart)
{
    while (!(get(uart, REG_LSR) & LSR_SENT))
        ;
}
