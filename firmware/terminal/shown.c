/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal/shown.h"

#include <string.h>

#include "common/utf8.h"

void shown_begin(struct shown *shown, const struct port *port, uint32_t strip)
{
    shown->port = port;
    shown->strip = strip;
    shown->size = 0;
}

static void write_bytes(const struct shown *shown, const void *bytes, uint32_t size)
{
    (void)shown->port->write(bytes, size);
}

static void write_replacement(const struct shown *shown)
{
    write_bytes(shown, "\xef\xbf\xbd", 3);
}

static void write_character(const struct shown *shown, uint32_t size)
{
    uint32_t code = utf8_code(shown->held, size);
    if (code == '\n')
        write_bytes(shown, "\r\n", 2);
    else if (code != '\t' && (code < ' ' || (code >= 0x7fu && code < 0xa0u)))
        write_replacement(shown);
    else
        write_bytes(shown, shown->held, size);
}

/* Whole characters, and the longest beginnings of one that something else follows. */
static void write_held(struct shown *shown, int at_end)
{
    while (shown->size) {
        uint32_t whole = utf8_size(shown->held[0]), good = utf8_valid(shown->held, shown->size);
        if (whole && good == shown->size && good < whole && !at_end)
            return;
        if (whole && good == whole)
            write_character(shown, whole);
        else
            write_replacement(shown);
        good = good ? good : 1;
        shown->size -= good;
        memmove(shown->held, shown->held + good, shown->size);
    }
}

void shown_put(struct shown *shown, struct tokenizer_text bytes)
{
    for (uint32_t i = 0; i < bytes.size; i++) {
        int skip = shown->strip && bytes.at[i] == ' ';
        shown->strip = 0;
        if (skip)
            continue;
        shown->held[shown->size++] = bytes.at[i];
        write_held(shown, 0);
    }
}

void shown_end(struct shown *shown)
{
    write_held(shown, 1);
}

int shown_is_text(const uint8_t *bytes, uint32_t size)
{
    for (uint32_t at = 0; at < size;) {
        uint32_t whole = utf8_size(bytes[at]);
        if (!whole || utf8_valid(bytes + at, size - at) < whole)
            return 0;
        at += whole;
    }
    return 1;
}
