/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_Q4_H
#define FORMATS_Q4_H

#include "formats/nibbles.h"

static inline int32_t format_q4_value(const uint8_t *record, uint32_t layout, uint32_t row,
                                      uint32_t column)
{
    return nibble_value(record, layout, row, column);
}

#endif
