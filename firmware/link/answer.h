/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_ANSWER_H
#define LINK_ANSWER_H

/* The two answers that every kind of request has: OK and ERROR. */

#include <stdint.h>

/* Answers a request with OK. */
void answer_ok(uint32_t request, uint32_t value);

/* Answers a request with ERROR; `error` is a negative enum error. */
void answer_refuse(uint32_t request, uint32_t type, int error, uint64_t detail);

/* Fills the WIRE_ERROR_SIZE bytes of an ERROR; `error` is a negative enum error. */
void answer_put_error(uint8_t *to, uint32_t request, uint32_t type, int error, uint64_t detail);

#endif
