/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_FLOW_H
#define IMAGE_FLOW_H

/* The flow of values through the program: what an op reads is what ops before it wrote in the same
 * step, of the same kind and in the same rows, and nothing has touched it since.
 *
 * So no value is read as another kind than it was written, a scale still bounds what it was made
 * from, nothing depends on steps before or on which hart was faster, and every target computes the
 * same, whatever the image. The check knows no op: a decoder says what its op reads and writes.
 */

#include <stdint.h>

#define FLOW_FLOATS  0u         /* `elements` of rows of f32 */
#define FLOW_SCRATCH UINT32_MAX /* of what an op keeps for itself, which no op may read */

/* The bytes [first + i * stride, + width) of the arena, for each of `rows` rows i. */
struct flow_extent {
    uint64_t first;
    uint64_t stride;
    uint64_t width;
    uint32_t rows;
    uint32_t domain;   /* IMAGE_DOMAIN_* */
    uint32_t elements; /* FLOW_FLOATS, FLOW_SCRATCH, or how many values a quantized row has */
    uint32_t in_place; /* of a read: the op may write over exactly these rows */
};

/* Pieces that hold values at one time, dead ones that nothing has overwritten included. Programs of
 * the packer have up to 6; one beyond the limit is refused with E_IMAGE_LIMIT. */
#define FLOW_VALUES 64u

/* What the arena holds where the program has come to: pieces that do not meet. */
struct flow {
    uint32_t count;
    struct flow_extent values[FLOW_VALUES];
};

/* Within one op, whose work harts share: nothing that it writes meets what else it writes or reads,
 * but for a read in place. Returns 0 or E_IMAGE_OP. */
int flow_check_op(const struct flow_extent *reads, uint32_t read_count,
                  const struct flow_extent *writes, uint32_t write_count);

/* All of it was written as it is read, and is whole. Returns 0 or E_IMAGE_OP. */
int flow_check_read(const struct flow *flow, const struct flow_extent *read);

/* What lay there is gone. Returns 0 or E_IMAGE_LIMIT. */
int flow_write(struct flow *flow, const struct flow_extent *write);

#endif
