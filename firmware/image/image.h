/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

/* The image as the loader sees it: each function checks one part and hands back its decoded form.
 *
 * They are called in the order in which they stand here, each on what the ones before accepted. All
 * return 0 or an image error, and set *detail to what the error is about (section id, tensor, state
 * or op index) before they return one.
 */

#include <stdint.h>

#include "gen/image_format.h"
#include "image/op.h"

struct image_part {
    const uint8_t *data; /* NULL: the image has no such section */
    uint64_t size;
};

struct image {
    const uint8_t *base;
    uint64_t size;
    uint64_t payload_size;
    struct image_part parts[IMAGE_MAX_SECTIONS]; /* by section id */
};

struct image_plan {
    uint32_t vocab;
    uint32_t context;
    uint32_t max_rows;
    uint32_t max_logit_rows;
    uint32_t sessions;
    uint32_t overflow;
    uint32_t tensor_count;
    uint32_t state_count;
    uint32_t op_count;
    uint32_t output_kind;   /* IMAGE_OUTPUT_KIND_* */
    uint32_t output_width;  /* floats of a result; of LOGITS the vocabulary */
    uint32_t whole;         /* a step is one whole sequence of each session that is in it */
    uint64_t logits_offset; /* bytes in the arena */
    uint32_t logits_stride; /* floats */
    uint64_t arena_bytes;
    uint64_t runtime_bytes;
    uint64_t page_stride; /* the largest page, padded to 64 bytes; set by image_read_states() */
    uint64_t pages;       /* of all sessions and states; likewise */
};

/* Whether the bytes [from, to) behind p are zeros: what later versions may use. */
int image_is_zero(const uint8_t *p, uint64_t from, uint64_t to);

/* Header, its digest, section table, and the hash root over the HASHES section. */
int image_open(struct image *image, const uint8_t *base, uint64_t limit, uint64_t *detail);

/* PLAN: every number within the firmware's limits, and the sizes of the tables that it counts. */
int image_read_plan(const struct image *image, struct image_plan *plan, uint64_t *detail);

/* TENSORS: each one's size exactly as its format, layout and shape imply, aligned, inside WEIGHTS.
 */
int image_check_tensors(const struct image *image, const struct image_plan *plan, uint64_t *detail);

/* The tensor as kernels see it. For PLAIN, tile_stride is the bytes from row to row. */
void image_weight(const struct image *image, uint32_t index, struct kernel_weight *weight);

/* STATES, and the plan's runtime_bytes, which they imply. `states` has LIMIT_STATES entries; their
 * tables are left NULL. */
int image_read_states(const struct image *image, struct image_plan *plan, struct step_state *states,
                      uint64_t *detail);

/* PROGRAM: every op with every operand, decoded against the arena at `arena`, and the flow of
 * values between them: what an op reads was written as it is read, by ops before it in the same
 * step, and so were the logits; no op writes what another hart reads in it. `ops` has LIMIT_OPS
 * entries; `flow` is memory for the check. */
struct flow;
int image_read_ops(const struct image *image, const struct image_plan *plan,
                   const struct step_state *states, uint8_t *arena, struct op *ops,
                   struct flow *flow, uint64_t *detail);

#endif
