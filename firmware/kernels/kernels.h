/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

/* The kernel interface: what ops call, and what scalar, SWAR and RVV versions implement.
 *
 * Every version of a kernel gives the same bits (docs/numerics.md). One table is chosen when the firmware is built
 * (kernels=scalar or rvv); it may choose at load time by the weight's layout. Every table can read every
 * layout: an image packed for another family runs, only slower.
 */

#include <stdint.h>

/* A quantized activation row (Q8A), decoded from the arena. */
struct kernel_q8a {
    const int8_t *values;  /* k, padded with zeros to a multiple of 32 */
    const float *scales;   /* one a group of 32 */
    const int32_t *sums;   /* sum of the group's values */
};

/* A tiled weight as kernels see it: validated once, trusted afterwards. */
struct kernel_weight {
    const uint8_t *data;
    uint32_t format;  /* IMAGE_FORMAT_* */
    uint32_t layout;  /* IMAGE_LAYOUT_* */
    uint32_t rows;    /* padded to 64 */
    uint32_t cols;    /* padded to 32 for quantized formats */
    uint32_t record;  /* bytes of one (tile, group) record; (tile, column) for F32 and BF16 */
    uint64_t tile_stride; /* bytes from tile to tile */
};

/* acc[t * acc_stride + (r - row0)] = dot product of weight row r with input row t, for r in [row0, row1) and t in
 * [0, count). row0 and row1 are multiples of 16 within one tile of 64 rows. */
typedef void (*kernel_linear_q8a)(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                                  uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

/* The same for F32 and BF16 weights: x[t] points to cols floats. */
typedef void (*kernel_linear_f32)(const struct kernel_weight *w, const float *const *x, uint32_t count,
                                  uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

struct kernel_table {
    const char *name; /* "scalar" or "rvv" */

    /* The version for a weight's format and layout; never NULL for a validated weight. */
    kernel_linear_q8a (*linear_q8a)(uint32_t format, uint32_t layout);
    kernel_linear_f32 (*linear_f32)(uint32_t format, uint32_t layout);

    /* values, scales, sums of n floats (n not padded; the padding is written as zeros). */
    void (*quantize)(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums);

    /* Sums in 32 virtual lanes, folded 16, 8, 4, 2, 1. */
    float (*sum)(const float *x, uint32_t n);
    float (*sum_squares)(const float *x, float mean, uint32_t n); /* of x - mean */

    /* int8 attention over one block of a page; see ops/attention.c. */
    void (*dot_i8)(const int8_t *q, const int8_t *k, uint32_t head_dim, uint32_t count, int32_t *out);
    void (*axpy_i8)(const float *p, const int8_t *v, uint32_t head_dim, uint32_t count, float *acc);
    void (*dot_f32)(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out);
    void (*axpy_f32)(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc);
};

extern const struct kernel_table kernels;

#endif
