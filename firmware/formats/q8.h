/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_Q8_H
#define FORMATS_Q8_H

#include <stdint.h>

#include "gen/image_format.h"

static inline int32_t format_q8_value(const uint8_t *record, uint32_t layout, uint32_t row,
                                      uint32_t column)
{
    if (layout == IMAGE_LAYOUT_RVV)
        return (int8_t)record[column * IMAGE_TILE_ROWS + row];
    return record[row * IMAGE_GROUP + column] - 128;
}

#endif
