/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_SWAR_SWAR_H
#define KERNELS_SWAR_SWAR_H

/* Kernels for cores without vectors: several products in one 64-bit multiply.
 *
 * The linear kernels read layout SWAR and multiply with packed rows; those of kernel_linear_q8a
 * pack a few groups at a time for every call. Arguments and results as in kernels/kernels.h.
 */

#include "kernels/kernels.h"

void swar_linear_q4(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);
void swar_linear_q4m(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                     uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);
void swar_linear_q8(const struct kernel_weight *w, const struct kernel_q8a *x, uint32_t count,
                    uint32_t row0, uint32_t row1, float *acc, uint32_t acc_stride);

/* The version for packed rows. */
const struct kernel_packed *swar_packed(uint32_t format);

/* out[h][j] = q[h] . key j for h in [0, heads) and j in [0, count), and some j beyond, up to 64;
 * operands as of score_i8 in kernels.h. */
void swar_dot_i8(const int8_t *q, uint32_t heads, const int8_t *k, uint32_t head_dim,
                 uint32_t count, int32_t *out);

#endif
