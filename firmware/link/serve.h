/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_SERVE_H
#define LINK_SERVE_H

/* The messages: what each request means (docs/protocol.md).
 *
 * Short requests are answered where they are received, also between the ops of a step. GENERATE and
 * SCORE only become the job here; device_run() runs it, so that receiving never nests. While there
 * is a job, all requests but HELLO, CANCEL, PING and STATS without flags are refused as busy.
 */

#include <stdint.h>

#include "engine/engine.h"
#include "gen/wire.h"
#include "link/frame.h"
#include "port/port.h"

struct job {
    uint32_t request;
    uint32_t type; /* WIRE_TYPE_GENERATE or WIRE_TYPE_SCORE; 0: no job */
    uint32_t session;
    uint32_t flags; /* WIRE_RUN_FLAG_* */
    uint32_t max_tokens;
    uint32_t stop_count;
    uint32_t stop_ids[WIRE_MAX_STOP_IDS];
    struct sampler_params sampler;
    uint64_t started_us;
    uint64_t started_instret;
    uint64_t started_cycles;
};

/* error and detail are of engine_load() or engine_verify(): with an error the model's requests are
 * refused. */
void serve_init(const struct port *port, int error, uint64_t detail);

/* The receiver for link_init(). */
void serve_receive(const struct frame *frame);

/* The job, or NULL. */
const struct job *serve_job(void);

/* The job is over; its DONE or ERROR must have been sent. */
void serve_finish(void);

/* For engine_set_poll(): receives, and tells whether the job is to be abandoned. */
int serve_poll(void *context);

/* Answers a request with ERROR; `error` is a negative enum error. */
void serve_refuse(uint32_t request, uint32_t type, int error, uint64_t detail);

/* What the device is, to whoever listens. */
void serve_announce(void);

#endif
