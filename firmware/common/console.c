/* SPDX-License-Identifier: Apache-2.0 */
#include "common/console.h"

#include <string.h>

static uint32_t text_length(const char *text)
{
    uint32_t length = 0;
    while (text[length])
        length++;
    return length;
}

void console_text(const struct port *port, const char *text)
{
    (void)port->write((const uint8_t *)text, text_length(text));
}

void console_u64(const struct port *port, uint64_t value)
{
    uint8_t digits[20];
    uint32_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + value % 10u);
        value /= 10u;
    } while (value);
    (void)port->write(digits + at, (uint32_t)sizeof digits - at);
}

void console_hex8(const struct port *port, uint8_t value)
{
    const char *digits = "0123456789abcdef";
    uint8_t text[2] = {(uint8_t)digits[value >> 4], (uint8_t)digits[value & 15u]};
    (void)port->write(text, sizeof text);
}

void console_size(const struct port *port, uint64_t bytes)
{
    const char *unit = bytes < 1u << 20 ? " KiB" : " MiB";
    uint64_t tenths = (bytes * 10u) >> (bytes < 1u << 20 ? 10 : 20);
    console_u64(port, tenths / 10u);
    console_text(port, ".");
    console_u64(port, tenths % 10u);
    console_text(port, unit);
}
