/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

/* The messages: what each request means (docs/protocol.md).
 *
 * Short requests are answered where they are received, also between the ops of a step. GENERATE,
 * SCORE, LOAD and FLASH only become the job here; device_run() runs it, so that receiving never
 * nests. While there is a job, all requests but HELLO, CANCEL, PING, RESUME and STATS without flags
 * are refused as busy.
 */

#include <stdint.h>

#include "engine/engine.h"
#include "gen/wire.h"
#include "link/frame.h"
#include "common/port.h"

struct job {
    uint32_t request;
    uint32_t type;         /* WIRE_TYPE_GENERATE, _SCORE, _LOAD or _FLASH; 0: no job */
    uint32_t terminal;     /* its tokens are shown as text, and no host asked for them */
    struct engine *engine; /* of a GENERATE or SCORE, as is: */
    const struct engine_info *model;
    uint32_t session;
    uint32_t flags; /* WIRE_RUN_FLAG_* */
    uint32_t max_tokens;
    uint32_t stop_count;
    uint32_t stop_ids[WIRE_MAX_STOP_IDS];
    struct sampler_params sampler;
    uint64_t bytes; /* of a FLASH */
    uint64_t started_us;
    uint64_t started_instret;
    uint64_t started_cycles;
};

/* The image is being checked: what needs a model is refused. */
void serve_init(const struct port *port, struct engine *engine);

/* It has been: error and detail are of engine_load() or engine_verify(), and with an error the
 * model's requests are refused. Announces it. */
void serve_checked(int error, uint64_t detail);

/* The model that was checked, NULL without one: the only way to it for requests and terminal, which
 * hand it to what needs it, and for others an error. */
const struct engine_info *serve_model(void);

/* The receiver for link_init(). */
void serve_receive(const struct frame *frame);

/* The job, or NULL. */
const struct job *serve_job(void);

/* Makes a GENERATE of the terminal the job; there must be none. */
void serve_start(const struct job *job);

/* The job is to be abandoned at the next op. */
void serve_cancel(void);

/* Nothing more is sent to the host that is there; it has to say HELLO again. */
void serve_drop_host(void);

/* The job is over; its DONE or ERROR must have been sent. */
void serve_finish(void);

/* Receives, sends what is due, announces the device to who does not know it. Returns the bytes
 * read, or E_IO when the other end is gone. */
int serve_line(void);

/* For engine_set_poll(): serve_line(), and tells whether the job is to be abandoned. */
int serve_poll(void *context);

/* Serves the line at least once, and until ready(). Returns 0, or E_CANCELLED where the job is to
 * be abandoned. */
int serve_wait(int (*ready)(void));

#endif
