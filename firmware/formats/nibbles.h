/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_NIBBLES_H
#define FORMATS_NIBBLES_H

/* 4-bit values: host/schema/nibbles.py says where they lie. */

#include "common/load.h"
#include "gen/image_format.h"

/* In -8..7. */
static inline int32_t nibble_value(const uint8_t *record, uint32_t layout, uint32_t row,
                                   uint32_t column)
{
    if (layout == IMAGE_LAYOUT_RVV)
        return (record[column / 2 * IMAGE_TILE_ROWS + row] >> (4 * (column % 2)) & 15) - 8;
    uint64_t word = load_u64(record + 16 * row + 8 * (column / 16));
    return (int32_t)(word >> (16 * (column % 4) + 4 * (column / 4 % 4)) & 15) - 8;
}

#endif
