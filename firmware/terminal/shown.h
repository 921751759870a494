/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TERMINAL_SHOWN_H
#define TERMINAL_SHOWN_H

/* An answer's bytes as text on a terminal, the same as the host shows: characters that are split
 * over tokens whole, what is no UTF-8 as U+FFFD, and nothing that steers the terminal. */

#include "tokenizer/tokenizer.h"
#include "common/port.h"

/* Begins an answer; `strip`: less one space at its start. */
void shown_begin(const struct port *port, uint32_t strip);

void shown_put(struct tokenizer_text bytes);

/* Shows what was held back of an incomplete character. */
void shown_end(void);

/* Whether the bytes are UTF-8. */
int shown_is_text(const uint8_t *bytes, uint32_t size);

#endif
