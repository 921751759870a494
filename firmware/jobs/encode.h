/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_ENCODE_H
#define JOBS_ENCODE_H

/* ENCODE: what an encoder makes of a whole text, its vectors or labels. The pending tokens are one
 * step; afterwards the session is empty again. Results go to the host as they are, and none is
 * kept. */

#include "jobs/run.h"

/* All that is pending. */
struct run_rows encode_rows(struct run *run);

/* The rows were evaluated: their results are to be sent. */
void encode_take(struct run *run);

/* Sends what the link has room for. Returns whether no result is left to be sent. */
int encode_pump(struct run *run);

int encode_is_over(const struct run *run);

#endif
