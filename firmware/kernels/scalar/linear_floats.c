/* SPDX-License-Identifier: Apache-2.0 */

/* Weights of floats: a column of 64 rows, then the next; 16 rows at a time. */

#include "kernels/load.h"
#include "kernels/scalar/scalar.h"

#define LANES 16u

#define INLINE static inline __attribute__((always_inline))

typedef float value_of(const uint8_t *value);

INLINE void linear_block(const struct kernel_weight *w, const float *const *x, uint32_t count,
                         uint32_t row, float *acc, uint32_t acc_stride, value_of *value,
                         uint32_t bytes)
{
    const uint8_t *column = kernel_tile(w, row) + row % KERNEL_TILE * bytes;
    float total[4][LANES] = {0};
    for (size_t k = 0; k < w->cols; k++, column += w->record)
        for (size_t t = 0; t < count; t++)
            for (size_t i = 0; i < LANES; i++) {
                float v = value(column + i * bytes);
                total[t][i] = __builtin_fmaf(v, x[t][k], total[t][i]);
            }
    for (size_t t = 0; t < count; t++)
        __builtin_memcpy(acc + t * acc_stride, total[t], sizeof total[t]);
}

INLINE void linear(const struct kernel_weight *w, const float *const *x, uint32_t count,
                   uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride, value_of *value,
                   uint32_t bytes)
{
    for (uint32_t row = row0; row < row1; row += LANES) {
        float *out = acc + (row - row0);
        uint32_t t = 0;
        for (; t + 4 <= count; t += 4)
            linear_block(w, x + t, 4, row, out + t * acc_stride, acc_stride, value, bytes);
        for (; t < count; t++)
            linear_block(w, x + t, 1, row, out + t * acc_stride, acc_stride, value, bytes);
    }
}

#define VERSION(name, NAME, bytes)                                                                 \
    void scalar_linear_##name(const struct kernel_weight *w, const float *const *x,                \
                              uint32_t count, uint32_t row0, uint32_t row1, float *acc,            \
                              uint32_t acc_stride)                                                 \
    {                                                                                              \
        linear(w, x, count, row0, row1, acc, acc_stride, format_##name##_value, bytes);            \
    }
FORMATS_FLOATS(VERSION)
