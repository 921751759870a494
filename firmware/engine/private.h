/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_PRIVATE_H
#define ENGINE_PRIVATE_H

/* What the engine's own files share: the one engine of the device. */

#include "engine/engine.h"
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
    struct engine_op_stats stats[LIMIT_OPS];
    struct step_state states[LIMIT_STATES];
    struct sessions sessions;
    float *logits;
    uint64_t *candidates; /* the sampler's: one a vocabulary entry */
    uint8_t *pool;
    int (*poll)(void *context);
    void *poll_context;
    int stats_on;
    uint32_t logit_count; /* of the last step; 0 where it failed */
};

extern struct engine engine;

#endif
