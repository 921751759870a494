/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal/typed.h"

#include <string.h>

#include "common/console.h"

enum { KEY_BACKSPACE = 8, KEY_CTRL_U = 21, KEY_ESCAPE = 27, KEY_DELETE = 127 };

void typed_begin(struct typed *line)
{
    line->size = 0;
    line->ended = line->foreign = line->escape = 0;
}

static void erase_character(struct typed *line, const struct port *port)
{
    if (!line->size)
        return;
    while (line->size > 1 && (line->bytes[line->size - 1] & 0xc0u) == 0x80u)
        line->size--;
    line->size--;
    console_text(port, "\b \b");
}

static void append(struct typed *line, const struct port *port, uint8_t byte)
{
    if (line->size == TYPED_BYTES) {
        console_text(port, "\a");
        return;
    }
    line->bytes[line->size++] = byte;
    (void)port->write(&byte, 1);
}

/* Arrow keys and their like send ESC, [ or O, parameters, and a letter or ~. */
static int is_escaped(struct typed *line, uint8_t byte)
{
    if (byte == KEY_ESCAPE) {
        line->escape = 1;
        return 1;
    }
    if (!line->escape)
        return 0;
    int introduces = line->escape == 1 && (byte == '[' || byte == 'O');
    line->escape = introduces || (line->escape > 1 && byte < 0x40u) ? 2 : 0;
    return 1;
}

int typed_key(struct typed *line, const struct port *port, uint8_t byte)
{
    uint8_t last = line->last;
    line->last = byte;
    /* Some send CR LF for one key; and a line that was ended may still be taken back. */
    if ((byte == '\n' && last == '\r') || (line->ended && byte != TYPED_CTRL_C) ||
        is_escaped(line, byte))
        return 0;
    if (byte == '\r' || byte == '\n')
        line->ended = 1;
    else if (byte == KEY_BACKSPACE || byte == KEY_DELETE)
        erase_character(line, port);
    else if (byte == KEY_CTRL_U) {
        line->size = 0;
        line->foreign = 0;
        console_text(port, "\r\x1b[K" TYPED_PROMPT);
    } else if (byte == TYPED_CTRL_C) {
        console_text(port, "^C");
        return 1;
    } else if (byte >= ' ' || byte == '\t')
        append(line, port, byte == '\t' ? ' ' : byte);
    else
        line->foreign = 1;
    return 0;
}

void typed_trim(struct typed *line)
{
    uint32_t from = 0;
    while (line->size && line->bytes[line->size - 1] == ' ')
        line->size--;
    while (from < line->size && line->bytes[from] == ' ')
        from++;
    line->size -= from;
    memmove(line->bytes, line->bytes + from, line->size);
}

int typed_is(const struct typed *line, const char *text)
{
    uint32_t i = 0;
    while (i < line->size && text[i] && line->bytes[i] == (uint8_t)text[i])
        i++;
    return i == line->size && !text[i];
}
