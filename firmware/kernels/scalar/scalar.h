/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_SCALAR_SCALAR_H
#define KERNELS_SCALAR_SCALAR_H

/* Plain C kernels: the reference of each family, and what compilers turn into vectors on a laptop.
 *
 * The linear kernels read layout RVV, rows as lanes; layout SWAR is read by kernels/swar, which is
 * plain C as well. Arguments and results as in kernels/kernels.h.
 */

#include "kernels/kernels.h"

void scalar_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                      uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);
void scalar_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                       uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);
void scalar_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                      uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);
void scalar_linear_f32(const struct kernel_weight *w, const float *const *x, uint32_t count,
                       uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);
void scalar_linear_bf16(const struct kernel_weight *w, const float *const *x, uint32_t count,
                        uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

void scalar_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums);
float scalar_sum(const float *x, uint32_t n);
float scalar_sum_squares(const float *x, float mean, uint32_t n);
void scalar_normalize(const float *x, uint32_t n, float mean, float factor, const float *weight,
                      const float *bias, float *y);
void scalar_activate(float *x, uint32_t n, uint32_t kind);
uint32_t scalar_argmax(const float *x, uint32_t n);

/* As swar_dot_i8 (kernels/swar/swar.h). */
void scalar_dot_i8(const int8_t *q, uint32_t heads, const int8_t *k, uint32_t head_dim,
                   uint32_t count, int32_t *out);

float scalar_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step);
void scalar_score_i8(const int8_t *q, const float *scales, uint32_t heads, const int8_t *k,
                     const float *key_scales, uint32_t head_dim, uint32_t count, float *out);
void scalar_softmax(float *x, uint32_t heads, uint32_t count, const float *scales, float *max,
                    float *sum);
void scalar_axpy_i8(const float *p, uint32_t heads, const int8_t *v, uint32_t head_dim,
                    uint32_t count, float *acc, uint32_t acc_stride);
void scalar_dot_f32(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out);
void scalar_axpy_f32(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc);

#endif
