/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_HOSTED_HARTS_H
#define PORT_HOSTED_HARTS_H

/* Harts as threads, for Linux and native and for the library that tests load. */

#include "common/port.h"

/* Sets the port's hart and time operations and starts harts 1 to port->harts - 1 in pool_worker();
 * the caller is hart 0. Once in a process. Returns 0, or E_HART where a thread did not start. */
int hosted_start_harts(struct port *port);

#endif
