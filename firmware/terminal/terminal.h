/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TERMINAL_TERMINAL_H
#define TERMINAL_TERMINAL_H

/* The plain terminal: whoever has no host program types a line and gets the answer as text
 * (docs/terminal.md).
 *
 * It takes the bytes that belong to no frame. A line becomes an ordinary job on the last session,
 * so that hosts that use the first ones are not disturbed; the terminal is that job's sink.
 */

#include "common/port.h"
#include "engine/engine.h"
#include "terminal/shown.h"
#include "terminal/typed.h"
#include "tokenizer/tokenizer.h"

/* The caller's memory, the fields are this file's. */
struct terminal {
    const struct port *port;
    struct engine *engine;
    uint32_t mode;
    uint64_t mode_us; /* when it began */
    uint64_t host_us; /* when a host spoke; 0: never */
    uint64_t typed_us;
    int shared; /* a host has used the session since */
    int active;
    const struct tokenizer *answering; /* whose tokens are shown; NULL: no answer is under way */
    struct typed line;
    struct shown shown;
    uint32_t length; /* of the session when the last answer ended; 0: no conversation */
    uint32_t token;  /* the last one of the last answer */
    /* Of the last answer: */
    uint32_t evaluated;
    uint32_t generated;
    uint64_t prefill_us;
    uint64_t decode_us;
    /* Of a question: */
    uint8_t text[TOKENIZER_TEXT_BYTES];
    uint32_t ids[TOKENIZER_TEXT_BYTES + 1u];
};

/* Nobody is there yet. */
void terminal_init(struct terminal *terminal, const struct port *port, struct engine *engine);

/* Whether somebody types: nothing but text should be sent unasked. */
int terminal_is_active(const struct terminal *terminal);

/* The link's filter, with a struct terminal as its context. Typed text is edited into the line and
 * echoed; a 0 is always a frame's. */
int terminal_takes(void *context, uint8_t byte);

/* A host has sent a good frame: what comes is its, for a while. */
void terminal_host_spoke(struct terminal *terminal);

/* A host's request is about this session: if it is the terminal's, too, the next question drops the
 * host, which finds the device as after a restart. */
void terminal_host_uses(struct terminal *terminal, const struct engine_info *model,
                        uint32_t session);

/* Obeys a line that was ended: a command is answered, a question becomes the run. To be called
 * while there is no run. Returns whether there was a line. */
int terminal_obey(struct terminal *terminal);

#endif
