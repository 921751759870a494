/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_FORMATS_H
#define FORMATS_FORMATS_H

/* The weight formats: one header each in this folder, and lists of them all, which the build makes
 * from host/schema/formats (gen/formats.h).
 *
 * A header says how one value is read; where records, scales and minima lie is the same for all
 * formats of a kind, and the sizes are generated. `row` is the row within a tile of 64.
 *
 * A format of groups (FORMATS_GROUPS), whose record is 64 rows of 32 columns: the values of all
 * rows, then a bf16 scale a row, then, where it has them, a bf16 minimum a row:
 *
 *     static inline int32_t format_<name>_value(const uint8_t *record, uint32_t layout,
 *                                               uint32_t row, uint32_t column);
 *
 * returns the integer, of magnitude `limit` at most. `layout` is a constant wherever this is
 * called in a loop.
 *
 * A format of floats (FORMATS_FLOATS), whose record is 64 rows of one column:
 *
 *     static inline float format_<name>_value(const uint8_t *value);
 */

#include <stdint.h>

#include "gen/formats.h"
#include "gen/image_format.h"

/* How tensors of one format and layout are made up. */
struct format_record {
    uint32_t format;      /* IMAGE_FORMAT_* */
    uint32_t layout;      /* IMAGE_LAYOUT_* */
    uint32_t bytes;       /* of a record; of one value where the layout is PLAIN */
    uint32_t columns;     /* of a record */
    uint32_t activations; /* IMAGE_FORMAT_*: what is multiplied with it */
};

/* NULL: there is no such format, or it is never stored in this layout. */
const struct format_record *format_find(uint32_t format, uint32_t layout);

#endif
