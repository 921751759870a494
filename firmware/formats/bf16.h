/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_BF16_H
#define FORMATS_BF16_H

#include "common/load.h"

static inline float format_bf16_value(const uint8_t *value)
{
    return load_bf16(value, 0);
}

#endif
