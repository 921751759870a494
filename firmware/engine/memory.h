/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

/* What an engine is made of, for the engine's own files and for who holds one; only the former read
 * or write the fields. About 0.8 MiB by the limits of common/limits.h, mostly the decoded program,
 * packed rows and the tokenizer's tables. */

#include "engine/engine.h"
#include "image/flow.h"
#include "image/image.h"
#include "engine/session.h"
#include "tokenizer/tokenizer.h"

struct engine {
    const struct port *port;
    int loaded;
    int verified;
    uint64_t load_instret;
    struct engine_info info;
    struct image image;
    struct image_plan plan;
    int tokenizer_known; /* whether this image's tables were read, with this result: */
    int tokenizer_error;
    struct tokenizer tokenizer;
    struct op ops[LIMIT_OPS];
    struct flow flow; /* while a program is checked */
    struct engine_op_stats stats[LIMIT_OPS];
    struct step_state states[LIMIT_STATES];
    struct sessions sessions;
    float *logits;
    uint64_t *choice; /* the sampler's: 8 bytes a vocabulary entry, all padded to 64 */
    uint8_t *pages;   /* of all sessions' states */
    int (*poll)(void *context);
    void *poll_context;
    int stats_on;
    uint32_t logit_count; /* of the last step; 0 where it failed */
    /* Of the step that runs: */
    struct step_row rows[LIMIT_ROWS];
    uint32_t logit_rows[LIMIT_LOGIT_ROWS];
    uint32_t added[LIMIT_SESSIONS]; /* rows of each session */
    _Alignas(64) uint8_t packed[LIMIT_PACKED_BYTES];
};

#endif
