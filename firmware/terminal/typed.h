/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TERMINAL_TYPED_H
#define TERMINAL_TYPED_H

/* A line while somebody types it: keys in, its text and the echo out. */

#include <stdint.h>

#include "common/port.h"

#define TYPED_BYTES  1024u
#define TYPED_CTRL_C 3
#define TYPED_PROMPT "> "

struct typed {
    int ended;    /* the line awaits its answer */
    int foreign;  /* the line has bytes that nobody types */
    int escape;   /* within a key's escape sequence: 1 behind ESC, 2 behind its second byte */
    uint8_t last; /* key */
    uint32_t size;
    uint8_t bytes[TYPED_BYTES];
};

/* An empty line. */
void typed_begin(struct typed *line);

/* A key, edited into the line and echoed. Returns whether the line was given up: another is to
 * begin. */
int typed_key(struct typed *line, const struct port *port, uint8_t byte);

/* Without the spaces around it. */
void typed_trim(struct typed *line);

/* Whether the line is exactly this text. */
int typed_is(const struct typed *line, const char *text);

#endif
