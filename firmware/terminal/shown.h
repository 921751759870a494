/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TERMINAL_SHOWN_H
#define TERMINAL_SHOWN_H

/* An answer's bytes as text on a terminal, the same as the host shows: characters that are split
 * over tokens whole, what is no UTF-8 as U+FFFD, and nothing that steers the terminal. */

#include "common/port.h"
#include "tokenizer/tokenizer.h"

struct shown {
    const struct port *port;
    uint32_t strip;
    uint32_t size;
    uint8_t held[4]; /* the beginning of a character */
};

/* Begins an answer; `strip`: less one space at its start. */
void shown_begin(struct shown *shown, const struct port *port, uint32_t strip);

void shown_put(struct shown *shown, struct tokenizer_text bytes);

/* Shows what was held back of an incomplete character. */
void shown_end(struct shown *shown);

/* Whether the bytes are UTF-8. */
int shown_is_text(const uint8_t *bytes, uint32_t size);

#endif
