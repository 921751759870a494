/* SPDX-License-Identifier: Apache-2.0 */

#include "formats/formats.h"

static const struct format_record records[] = {
#define RECORD(name, NAME, layout, LAYOUT, bytes, columns, ACTIVATIONS)                            \
    {IMAGE_FORMAT_##NAME, IMAGE_LAYOUT_##LAYOUT, bytes, columns, IMAGE_FORMAT_##ACTIVATIONS},
    FORMATS_RECORDS(RECORD)};

const struct format_record *format_find(uint32_t format, uint32_t layout)
{
    for (uint32_t i = 0; i < sizeof records / sizeof *records; i++)
        if (records[i].format == format && records[i].layout == layout)
            return &records[i];
    return 0;
}
