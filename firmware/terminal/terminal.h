/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TERMINAL_TERMINAL_H
#define TERMINAL_TERMINAL_H

/* The plain terminal: whoever has no host program types a line and gets the answer as text
 * (docs/terminal.md).
 *
 * It takes the bytes that belong to no frame. A line becomes an ordinary job with `terminal` set,
 * on the last session, so that hosts that use the first ones are not disturbed; what a job tells
 * its host goes to terminal_token() and terminal_end() instead.
 */

#include "jobs/job.h"
#include "common/port.h"

/* Nobody is there yet. */
void terminal_init(const struct port *port, struct engine *engine);

/* Whether somebody types: nothing but text should be sent unasked. */
int terminal_is_active(void);

/* Each received byte, first of all. Returns whether it is typed text, which has then been edited
 * into the line and echoed; else it belongs to a frame. A 0 is always a frame's. */
int terminal_takes(uint8_t byte);

/* A host has sent a good frame: what comes is its, for a while. */
void terminal_host_spoke(void);

/* A host's request is about this session: if it is the terminal's, too, the next question drops the
 * host, which finds the device as after a restart. */
void terminal_host_uses(const struct engine_info *model, uint32_t session);

/* Obeys a line that was ended: a command is answered, a question becomes the job. To be called
 * while there is no job. Returns whether there was a line. */
int terminal_obey(void);

/* Shows a token of the job's answer, as far as it completes characters. */
void terminal_token(const struct job *job, uint32_t token);

/* The answer is over: with a reason (WIRE_REASON_*), or an error other than E_OK. */
void terminal_end(const struct run *run, int error, uint32_t reason);

#endif
