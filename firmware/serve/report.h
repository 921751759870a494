/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_REPORT_H
#define SERVE_REPORT_H

/* The boot report: what the device is and whether its model is good, as text lines before the first
 * frame. */

#include <stdint.h>

#include "engine/engine.h"
#include "common/port.h"

void report_machine(const struct port *port);
void report_model(const struct port *port, const struct engine_info *info, uint64_t load_instret);
void report_verified(const struct port *port, uint64_t time_us);

/* The error's number, words and remedy; `error` is a negative enum error. */
void report_error(const struct port *port, int error, uint64_t detail);

#endif
