/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_RVV_RVV_H
#define KERNELS_RVV_RVV_H

/* RVV 1.0 kernels for any VLEN from 128 to 1024: the quantized linear ones in assembly, the others
 * in intrinsics.
 *
 * The linear kernels read layout RVV: output rows are lanes, activations are scalars, so nothing is
 * reduced across lanes. They are rvv_linear_<format>, in files named by the formats that they read.
 * Arguments and results as in kernels/kernels.h.
 */

#include "kernels/kernels.h"

void rvv_quantize(const float *x, uint32_t n, int8_t *values, float *scales, int32_t *sums);
float rvv_sum(const float *x, uint32_t n);
float rvv_sum_squares(const float *x, float mean, uint32_t n);
void rvv_normalize(const float *x, uint32_t n, float mean, float factor, const float *weight,
                   const float *bias, float *y);
void rvv_activate(float *x, uint32_t n, uint32_t kind);
uint32_t rvv_argmax(const float *x, uint32_t n);
void rvv_weigh(const float *x, uint32_t n, float best, float factor, float *w);
uint64_t rvv_measure(const float *x, const float *w, uint32_t n, float cut, uint32_t *count);
uint32_t rvv_find(const float *x, uint32_t n, float low, float high, uint32_t *indices);

float rvv_quantize_head(const float *x, uint32_t head_dim, int8_t *to, uint32_t step);
void rvv_pack_queries(const int8_t *q, uint32_t queries, uint32_t head_dim, void *packed);
void rvv_score_i8(const void *packed, const float *scales, uint32_t queries, const int8_t *k,
                  const float *key_scales, uint32_t head_dim, uint32_t count, float *out);
void rvv_softmax(float *x, uint32_t queries, uint32_t count, float *max, float *sum);
void rvv_weigh_i8(float *x, uint32_t queries, uint32_t count, const float *scales, float *max,
                  float *sum, void *weights, float *factors);
void rvv_values_i8(const void *weights, const float *factors, const float *keep, uint32_t queries,
                   const int8_t *v, uint32_t head_dim, uint32_t count, float *acc,
                   uint32_t acc_stride);
void rvv_dot_f32(const float *q, const float *k, uint32_t head_dim, uint32_t count, float *out);
void rvv_axpy_f32(const float *p, const float *v, uint32_t head_dim, uint32_t count, float *acc);

#endif
