/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

/* What the requests of a device share (docs/protocol.md says what each of them means).
 *
 * A request is received by a function of its room: hello, sessions, runs, images, stats, transfer.
 * Each answers at once, also between the ops of a step. GENERATE and SCORE only begin a run, LOAD
 * and FLASH only ask for a check; device_run() goes on with both, so that receiving never nests.
 */

#include <stdint.h>

#include "common/port.h"
#include "engine/engine.h"
#include "terminal/terminal.h"

struct serve {
    const struct port *port;
    struct engine *engine;
    struct terminal terminal;
    uint64_t announced_us; /* when the device last told who it is, unasked */
    /* Of the image: */
    int checking;         /* what needs a model is refused */
    uint32_t check_type;  /* WIRE_TYPE_LOAD or _FLASH where a host has asked for a check, else 0 */
    uint64_t flash_bytes; /* of a FLASH */
    int error;            /* why there is no model, a negative enum error; 0 where there is one */
    uint64_t detail;      /* of the error */
};

#endif
