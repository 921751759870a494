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

/* out[h][j] = q[h] . key j for h in [0, heads) and j in [0, count), and some j beyond, up to 64;
 * operands as of score_i8 in kernels.h. */
void swar_dot_i8(const int8_t *q, uint32_t heads, const int8_t *k, uint32_t head_dim,
                 uint32_t count, int32_t *out);

#endif
