/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_SWAR_SWAR_H
#define KERNELS_SWAR_SWAR_H

/* Kernels for cores without vectors: several products in one 64-bit multiply.
 *
 * The linear kernels read layouts SWAR and LEAN and multiply with packed rows:
 * swar_packed_<format>, in files named by the formats that they read. swar_linear_<format>, of
 * kernel_linear_q8a, packs a few groups at a time for every call. Arguments and results as in
 * kernels/kernels.h.
 */

#include "kernels/kernels.h"

/* The version for packed rows; NULL where there is none. */
const struct kernel_packed *swar_packed(uint32_t format, uint32_t layout);

/* attention.c */
void swar_pack_queries(const int8_t *q, uint32_t queries, uint32_t head_dim, void *packed);
void swar_score_i8(const void *packed, const float *scales, uint32_t queries, const int8_t *k,
                   const float *key_scales, uint32_t head_dim, uint32_t count, float *out);
void swar_weigh_i8(float *x, uint32_t queries, uint32_t count, const float *scales, float *max,
                   float *sum, void *weights, float *factors);
void swar_values_i8(const void *weights, const float *factors, const float *keep, uint32_t queries,
                    const int8_t *v, uint32_t head_dim, uint32_t count, float *acc,
                    uint32_t acc_stride);

/* The part of a table that they are. */
#define SWAR_ATTENTION                                                                             \
    .queries = 12, .pack_queries = swar_pack_queries, .score_i8 = swar_score_i8,                   \
    .weigh_i8 = swar_weigh_i8, .values_i8 = swar_values_i8

#endif
