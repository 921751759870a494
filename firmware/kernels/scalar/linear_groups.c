/* SPDX-License-Identifier: Apache-2.0 */

/* Weights in groups, of any format and layout: 16 rows at a time, rows as lanes.
 *
 * Integer products are added in 16 bits where that is exact: all of a group where no value is
 * beyond 8, for 32 * 8 * 127 = 32512; else those of two columns, at most 2 * 127 * 127 = 32258,
 * which are then widened.
 */

#include "kernels/load.h"
#include "kernels/scalar/scalar.h"

#define LANES      16u
#define BLOCK      4u /* input rows at a time */
#define MAX_NARROW 8  /* magnitude of values of which a group's products are added in 16 bits */

#define INLINE static inline __attribute__((always_inline))

typedef int32_t value_of(const uint8_t *record, uint32_t layout, uint32_t row, uint32_t column);

/* Everything here is a constant of the function that is made from it. */
struct kind {
    value_of *value;
    uint32_t layout;
    uint32_t bytes; /* of a record's values */
    int limit;      /* greatest magnitude of a value */
    int minimum;    /* whether there are minima */
};

/* sums[t][i] += w * q of columns k and k + 1, for row `lane` + i. */
INLINE void add_pair(struct kind kind, const uint8_t *record, uint32_t lane, uint32_t k,
                     const struct kernel_q8a *x, uint32_t g, uint32_t count,
                     int16_t (*narrow)[LANES], int32_t (*sums)[LANES])
{
    int16_t a[LANES], b[LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        a[i] = (int16_t)kind.value(record, kind.layout, lane + i, k);
        b[i] = (int16_t)kind.value(record, kind.layout, lane + i, k + 1);
    }
    for (size_t t = 0; t < count; t++) {
        const int8_t *q = x[t].values + g * KERNEL_GROUP + k;
        for (size_t i = 0; i < LANES; i++) {
            if (kind.limit <= MAX_NARROW)
                narrow[t][i] = (int16_t)(narrow[t][i] + a[i] * q[0] + b[i] * q[1]);
            else
                sums[t][i] += (int16_t)(a[i] * q[0] + b[i] * q[1]);
        }
    }
}

/* sums[t][i] = sum over a group of w * q. */
INLINE void add_group(struct kind kind, const uint8_t *record, uint32_t lane,
                      const struct kernel_q8a *x, uint32_t g, uint32_t count,
                      int32_t (*sums)[LANES])
{
    int16_t narrow[BLOCK][LANES] = {0};
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < LANES; i++)
            sums[t][i] = 0;
    for (uint32_t k = 0; k < KERNEL_GROUP; k += 2)
        add_pair(kind, record, lane, k, x, g, count, narrow, sums);
    if (kind.limit <= MAX_NARROW)
        for (size_t t = 0; t < count; t++)
            for (size_t i = 0; i < LANES; i++)
                sums[t][i] = narrow[t][i];
}

/* `count` input rows against rows [row, row + 16). */
INLINE void linear_block(struct kind kind, const struct kernel_weight *w,
                         const struct kernel_q8a *x, uint32_t count, uint32_t row, float *acc,
                         uint32_t acc_stride)
{
    uint32_t lane = row % KERNEL_TILE;
    const uint8_t *record = kernel_tile(w, row);
    float total[BLOCK][LANES] = {0};
    for (uint32_t g = 0; g < w->cols / KERNEL_GROUP; g++, record += w->record) {
        const uint8_t *scales = record + kind.bytes;
        int32_t sums[BLOCK][LANES];
        add_group(kind, record, lane, x, g, count, sums);
        for (size_t t = 0; t < count; t++) {
            float scale = x[t].scales[g];
            float offset = scale * (float)x[t].sums[g];
            for (size_t i = 0; i < LANES; i++) {
                float s = scale * load_bf16(scales, lane + i);
                total[t][i] = __builtin_fmaf((float)sums[t][i], s, total[t][i]);
            }
            for (size_t i = 0; kind.minimum && i < LANES; i++) {
                float m = load_bf16(scales + 2 * KERNEL_TILE, lane + i);
                total[t][i] = __builtin_fmaf(m, offset, total[t][i]);
            }
        }
    }
    for (size_t t = 0; t < count; t++)
        __builtin_memcpy(acc + t * acc_stride, total[t], sizeof total[t]);
}

INLINE void linear(struct kind kind, const struct kernel_weight *w, const struct kernel_q8a *x,
                   uint32_t count, uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride)
{
    for (uint32_t row = row0; row < row1; row += LANES) {
        float *out = acc + (row - row0);
        uint32_t t = 0;
        for (; t + BLOCK <= count; t += BLOCK)
            linear_block(kind, w, x + t, BLOCK, row, out + t * acc_stride, acc_stride);
        for (; t < count; t++)
            linear_block(kind, w, x + t, 1, row, out + t * acc_stride, acc_stride);
    }
}

#define VERSION(name, NAME, layout, LAYOUT, bytes, limit, minimum)                                 \
    void scalar_linear_##name##_##layout(                                                          \
        const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count, uint32_t row0,  \
        uint32_t row1, float *acc, uint32_t acc_stride)                                            \
    {                                                                                              \
        linear((struct kind){format_##name##_value, IMAGE_LAYOUT_##LAYOUT, bytes, limit, minimum}, \
               w, x, count, row0, row1, acc, acc_stride);                                          \
    }
FORMATS_GROUP_RECORDS(VERSION)
