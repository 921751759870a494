/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_READER_H
#define IMAGE_READER_H

/* What an op's decoder reads its fields with.
 *
 * Each function checks one operand, tensor or state against the image and the arena, hands back
 * what the op runs with, and notes what the op reads and writes, from which the loader checks the
 * flow of values (image/flow.h). `p` is where the operand's record stands. A decoder checks a field
 * before it multiplies it, so that no product can overflow 64 bits (LIMIT_* bound the factors). All
 * return 0 or an image error, which the decoder returns at once.
 */

#include "gen/errors.h"
#include "image/flow.h"
#include "image/image.h"

/* Operands that one op may have. */
#define READER_READS  8u
#define READER_WRITES 4u

struct reader {
    const struct image *image;
    const struct image_plan *plan;
    const struct step_state *states;
    uint8_t *arena;
    struct op *op; /* that is decoded: its id and domain are set */
    struct flow_extent reads[READER_READS];
    struct flow_extent writes[READER_WRITES];
    uint32_t read_count;
    uint32_t write_count;
    uint8_t stored[LIMIT_STATES]; /* which states an op before, or this one, writes to */
};

/* ---- fields ---- */

/* Not a number is in no range. */
static inline int reader_check_float(float value, float low, float high)
{
    return value >= low && value <= high ? 0 : E_IMAGE_OP;
}

/* A count of elements, heads or segments: 1 to LIMIT_WIDTH. */
static inline int reader_check_width(uint32_t width)
{
    return width >= 1 && width <= LIMIT_WIDTH ? 0 : E_IMAGE_OP;
}

/* ---- operands ---- */

/* An operand that this op has not: all zeros. */
int reader_no_operand(const uint8_t *p);
int reader_is_operand(const uint8_t *p);

/* Rows of the op's domain, `width` floats each, which the op reads. `in_place`: its kernel reads an
 * element before it writes to its place, and no hart writes what another reads, so the op may write
 * over exactly these rows. */
int reader_read_f32(struct reader *r, const uint8_t *p, uint64_t width, struct op_f32 *out);
int reader_read_f32_in_place(struct reader *r, const uint8_t *p, uint64_t width,
                             struct op_f32 *out);

/* The same of another domain: IMAGE_DOMAIN_*. */
int reader_read_f32_of(struct reader *r, const uint8_t *p, uint32_t domain, uint64_t width,
                       struct op_f32 *out);

/* Rows of `width` quantized values, scales and sums. */
int reader_read_q8a(struct reader *r, const uint8_t *p, uint32_t width, struct op_q8a *out);

/* Rows that the op writes, all of their `width` elements. */
int reader_write_f32(struct reader *r, const uint8_t *p, uint64_t width, struct op_f32 *out);
int reader_write_q8a(struct reader *r, const uint8_t *p, uint32_t width, struct op_q8a *out);

/* `floats` floats in one piece that the op keeps for itself while it runs; 64-byte aligned. */
int reader_scratch(struct reader *r, const uint8_t *p, uint64_t floats, float **out);

/* ---- tensors, by index ---- */

/* A tensor f32 PLAIN [1][cols]. */
int reader_vector(const struct reader *r, uint32_t index, uint32_t cols, const float **out);

/* The same, or none where index is IMAGE_NO_TENSOR: *out stays as it is. */
int reader_optional_vector(const struct reader *r, uint32_t index, uint32_t cols,
                           const float **out);

/* A tensor of at least `rows` rows and exactly `cols` columns, of any format and layout. */
int reader_table(const struct reader *r, uint32_t index, uint32_t rows, uint32_t cols,
                 struct kernel_weight *out);

/* A tiled tensor of exactly [rows][cols], by which statistics name the op. */
int reader_weight(struct reader *r, uint32_t index, uint32_t rows, uint32_t cols,
                  struct kernel_weight *out);

/* ---- states, by index ---- */

/* The state that the op writes the step's rows to. */
int reader_write_state(struct reader *r, uint32_t index, const struct step_state **out);

/* The state that the op reads. An op before it must write to that state: pages are handed out as
 * they are, and would hold another session's keys. */
int reader_read_state(const struct reader *r, uint32_t index, const struct step_state **out);

#endif
