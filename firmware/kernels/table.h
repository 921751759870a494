/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_TABLE_H
#define KERNELS_TABLE_H

/* How each family's table finds the kernel for a weight: from the generated lists of those that the
 * family has (gen/formats.h). */

#include "formats/formats.h"
#include "kernels/kernels.h"
#include "kernels/swar/swar.h"

#define TABLE_DECLARE_GROUP(FORMAT, LAYOUT, function) kernel_linear_q8a function;
#define TABLE_DECLARE_FLOAT(FORMAT, function)         kernel_linear_f32 function;
#define TABLE_CHOOSE_GROUP(FORMAT, LAYOUT, function)                                               \
    if (format == IMAGE_FORMAT_##FORMAT && layout == IMAGE_LAYOUT_##LAYOUT)                        \
        return function;
#define TABLE_CHOOSE_FLOAT(FORMAT, function)                                                       \
    if (format == IMAGE_FORMAT_##FORMAT)                                                           \
        return function;

/* table_linear_q8a() and table_linear_f32() over the lists GROUPS and FLOATS. */
#define TABLE_CHOOSERS(GROUPS, FLOATS)                                                             \
    GROUPS(TABLE_DECLARE_GROUP)                                                                    \
    FLOATS(TABLE_DECLARE_FLOAT)                                                                    \
    static kernel_linear_q8a *table_linear_q8a(uint32_t format, uint32_t layout)                   \
    {                                                                                              \
        GROUPS(TABLE_CHOOSE_GROUP)                                                                 \
        return 0;                                                                                  \
    }                                                                                              \
    static kernel_linear_f32 *table_linear_f32(uint32_t format)                                    \
    {                                                                                              \
        FLOATS(TABLE_CHOOSE_FLOAT)                                                                 \
        return 0;                                                                                  \
    }

/* Begins the family's table: one to choose, or the only one. */
#if KERNELS_CHOSEN
#define TABLE(family)                                                                              \
    extern const struct kernel_table family##_kernels;                                             \
    const struct kernel_table family##_kernels
#else
#define TABLE(family) const struct kernel_table kernels
#endif

/* Rows are packed for the layouts of the SWAR kernels alone, whichever family runs. */
static inline const struct kernel_packed *table_packed(uint32_t format, uint32_t layout)
{
    return swar_packed(format, layout);
}

#endif
