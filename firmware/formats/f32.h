/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_F32_H
#define FORMATS_F32_H

#include "common/load.h"

static inline float format_f32_value(const uint8_t *value)
{
    return load_f32(value, 0);
}

#endif
