/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_SCHEDULE_H
#define JOBS_SCHEDULE_H

/* Which run takes part in the next step. There is one run at a time. */

#include <stdint.h>

#include "common/port.h"
#include "jobs/run.h"

/* No run, and nothing pending. */
void schedule_init(const struct port *port);

/* Begins a run, at which time is counted from; there must be none. */
void schedule_start(const struct job *job);

/* The run, or NULL. */
const struct run *schedule_run(void);

/* No run may start: the image is checked for this request. */
void schedule_hold(uint32_t request);
void schedule_release(void);

/* Whether there is a run or a hold; `request` receives whose, 0 where there is none or no host
 * asked for it. */
int schedule_is_busy(uint32_t *request);

/* The run is to be abandoned, within its step. */
void schedule_cancel(void);
int schedule_is_cancelled(void);

/* Another host has come: a run is abandoned whose job does not stay. */
void schedule_detach(void);

/* Goes on with the run by one step. Returns 0 where it waits for its sink, or there is none. */
int schedule_step(void);

#endif
