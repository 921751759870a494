/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_GENERATE_H
#define JOBS_GENERATE_H

/* GENERATE: evaluates all that is pending, then makes tokens one after the other. A made token is
 * the session's next pending one, so that a step is the same in both phases. */

#include "jobs/run.h"

/* What the run evaluates next. */
struct run_rows generate_rows(struct run *run);

/* Whether who hears of the run can take another token. */
int generate_ready(struct run *run);

/* The rows were evaluated: makes the next token where nothing else is pending. */
void generate_take(struct run *run);

int generate_is_over(const struct run *run);

#endif
