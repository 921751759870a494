/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_STREAM_H
#define JOBS_STREAM_H

/* What a GENERATE or SCORE tells its host, at the line's pace: the record of the run.
 *
 * Sampled tokens are kept here and go out, many to a frame, as the window of the link has room, so
 * that the engine computes on while the host is slow. The record outlives the run and the epoch: a
 * host that comes back takes it up where it stopped. There is one, of the run that runs or ran
 * last.
 */

#include <stdint.h>

#include "jobs/job.h"

struct stream_facts {
    uint32_t request; /* id of the run; 0: there was none */
    uint32_t session;
    uint32_t made; /* tokens sampled */
};

void stream_init(void);

/* Begins the record of a job that is to start, listened to by the host of this epoch, and becomes
 * the job's sink: it takes tokens until WIRE_TOKEN_LOG of them wait to be sent. */
void stream_begin(struct job *job);

/* Sends what the link has room for. */
void stream_pump(void);

/* A new epoch: nobody listens until stream_resume(). */
void stream_detach(void);

/* The host of this epoch wants the tokens of the run `request` from `index` on, then its end.
 * Returns 0, or E_RUN where there is no such run or token. */
int stream_resume(uint32_t request, uint32_t index);

/* The session has been emptied: nobody may take up what was answered there. A record that the host
 * of this epoch has yet to hear stays. */
void stream_forget(uint32_t session);

struct stream_facts stream_facts(void);

#endif
