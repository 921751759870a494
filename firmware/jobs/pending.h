/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_PENDING_H
#define JOBS_PENDING_H

/* Tokens that a session has but the engine has not evaluated: prompts that arrived, and the last
 * sampled token.
 *
 * One static pool for all sessions, in blocks, so that one session may hold a whole context or many
 * a short prompt each. The limit is PENDING_TOKENS in all; longer prompts are sent and evaluated in
 * parts.
 */

#include <stdint.h>

#define PENDING_BLOCK_TOKENS 64u
#define PENDING_TOKENS       16384u

/* Forgets everything. */
void pending_init(void);

uint32_t pending_count(uint32_t session);

/* Appends one token. Returns 0, or E_PENDING where the pool is full. */
int pending_push(uint32_t session, uint32_t token);

/* How many more tokens the session can take now. */
uint32_t pending_room(uint32_t session);

/* Copies up to `count` of the oldest tokens. Returns how many there were. */
uint32_t pending_copy(uint32_t session, uint32_t *to, uint32_t count);

/* Drops the `count` oldest tokens, of which there must be so many. */
void pending_drop(uint32_t session, uint32_t count);

/* Keeps only the `count` oldest tokens. */
void pending_keep(uint32_t session, uint32_t count);

#endif
