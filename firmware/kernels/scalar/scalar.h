/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_SCALAR_SCALAR_H
#define KERNELS_SCALAR_SCALAR_H

/* Plain C kernels: the reference of each family, and what compilers turn into vectors on a laptop.
 *
 * The linear kernels read every format in every layout, by the format's header alone: they run
 * wherever no family has a version of its own. Arguments and results as in kernels/kernels.h.
 */

#include "formats/formats.h"
#include "kernels/kernels.h"

/* linear_groups.c: of each format of groups a version for each of its layouts. */
#define SCALAR_DECLARE(name, NAME, layout, LAYOUT, bytes, limit, minimum)                          \
    kernel_linear_q8a scalar_linear_##name##_##layout;
FORMATS_GROUP_RECORDS(SCALAR_DECLARE)

/* linear_floats.c: of each format of floats. */
#define SCALAR_DECLARE_FLOAT(name, NAME, bytes) kernel_linear_f32 scalar_linear_##name;
FORMATS_FLOATS(SCALAR_DECLARE_FLOAT)

void scalar_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums);
float scalar_sum(const float *x, uint32_t n);
float scalar_sum_squares(const float *x, float mean, uint32_t n);
void scalar_normalize(const float *x, uint32_t n, float mean, float factor, const float *weight,
                      const float *bias, float *y);
void scalar_activate(float *x, uint32_t n, uint32_t kind);
uint32_t scalar_argmax(const float *x, uint32_t n);
void scalar_weigh(const float *x, uint32_t n, float best, float factor, float *w);
uint64_t scalar_measure(const float *x, const float *w, uint32_t n, float cut, uint32_t *count);
uint32_t scalar_find(const float *x, uint32_t n, float low, float high, uint32_t *indices);

float scalar_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step);
void scalar_pack_queries(const int8_t *q, uint32_t queries, uint32_t head_dim, void *packed);
void scalar_score_i8(const void *packed, const float *scales, uint32_t queries, const int8_t *k,
                     const float *key_scales, uint32_t head_dim, uint32_t count, float *out);
void scalar_softmax(float *x, uint32_t queries, uint32_t count, float *max, float *sum);
void scalar_weigh_i8(float *x, uint32_t queries, uint32_t count, const float *scales, float *max,
                     float *sum, void *weights, float *factors);
void scalar_values_i8(const void *weights, const float *factors, const float *keep,
                      uint32_t queries, const int8_t *v, uint32_t head_dim, uint32_t count,
                      float *acc, uint32_t acc_stride);
void scalar_dot_f32(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out);
void scalar_axpy_f32(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc);

/* The part of a table in which a family has nothing of its own; where it quantizes by itself, the
 * rest of it, and that without what int8 keys and values take. */
#define SCALAR_QUANTIZERS .quantize = scalar_quantize, .quantize_head = scalar_quantize_head
#define SCALAR_ATTENTION                                                                           \
    .queries = KERNEL_QUERIES, .pack_queries = scalar_pack_queries, .score_i8 = scalar_score_i8,   \
    .weigh_i8 = scalar_weigh_i8, .values_i8 = scalar_values_i8
#define SCALAR_ROWS                                                                                \
    .sum = scalar_sum, .sum_squares = scalar_sum_squares, .normalize = scalar_normalize,           \
    .activate = scalar_activate, .argmax = scalar_argmax, .weigh = scalar_weigh,                   \
    .measure = scalar_measure, .find = scalar_find, .softmax = scalar_softmax,                     \
    .dot_f32 = scalar_dot_f32, .axpy_f32 = scalar_axpy_f32
#define SCALAR_REST      SCALAR_ROWS, SCALAR_ATTENTION
#define SCALAR_FUNCTIONS SCALAR_QUANTIZERS, SCALAR_REST

#endif
