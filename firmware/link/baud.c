/* SPDX-License-Identifier: Apache-2.0 */
#include "link/baud.h"

#include "gen/wire.h"
#include "link/link.h"

static const uint32_t rates[] = {9600,   57600,   115200,  230400,  460800, 500000,
                                 921600, 1000000, 1500000, 2000000, 3000000};

static struct {
    const struct port *port;
    uint32_t now;
    uint32_t before;
    uint64_t tried_us; /* 0: not trying */
} baud;

void baud_init(const struct port *port)
{
    baud.port = port;
    baud.now = baud.before = port->set_baud ? port->baud : 0;
    baud.tried_us = 0;
}

uint32_t baud_now(void)
{
    return baud.now;
}

/* A UART divides its clock by 16 times a whole number. */
static int is_made(uint32_t rate)
{
    uint64_t clock = baud.port->uart_clock_hz;
    uint64_t divisor = (clock + 8u * rate) / (16u * rate);
    if (!divisor || divisor > UINT16_MAX)
        return 0;
    uint64_t made = clock / (16u * divisor), off = made > rate ? made - rate : rate - made;
    return off * 50u <= rate;
}

uint32_t baud_offered(uint32_t i)
{
    uint32_t found = 0;
    for (uint32_t k = 0; baud.port->set_baud && k < sizeof rates / sizeof rates[0]; k++)
        if (is_made(rates[k]) && found++ == i)
            return rates[k];
    return 0;
}

static void change(uint32_t to)
{
    baud.now = to;
    baud.port->set_baud(to);
}

void baud_try(uint32_t to)
{
    baud.before = baud.now;
    change(to);
    baud.tried_us = baud.port->time_us();
}

void baud_poll(void)
{
    if (!baud.now)
        return;
    uint64_t now = baud.port->time_us(), heard = link_heard_us();
    if (baud.tried_us && heard > baud.tried_us)
        baud.tried_us = 0;
    if (baud.tried_us && now - baud.tried_us >= WIRE_BAUD_TRY_US) {
        baud.tried_us = 0;
        change(baud.before);
    } else if (!baud.tried_us && baud.now != baud.port->baud && link_is_spoiled() &&
               now - heard >= WIRE_BAUD_LOST_US) {
        change(baud.port->baud);
    }
}
