/* SPDX-License-Identifier: Apache-2.0 */

/* Scores of a page's 64 keys, two positions in one multiply.
 *
 * Eight positions of one dimension are a word; u = k + 128 spread to two 32-bit lanes times the
 * signed q of that dimension. The low lane borrows from the high one, which reading it as a
 * signed number and subtracting it undoes.
 */

#include "kernels/load.h"
#include "kernels/swar/swar.h"

#define SIGNS 0x8080808080808080ull
#define MASK  0x000000FF000000FFull

void swar_dot_i8(const int8_t *q, const int8_t *k, uint32_t head_dim, int32_t *out)
{
    int32_t offset = 0;
    for (uint32_t d = 0; d < head_dim; d++)
        offset += 128 * q[d];
    uint64_t signs = SIGNS, mask = MASK;
    KERNEL_KEEP(signs);
    KERNEL_KEEP(mask);
    const int8_t *end = q + head_dim;
    for (size_t j = 0; j < KERNEL_TILE; j += 8) {
        uint64_t lanes[4] = {0};
        const int8_t *key = k + j;
        for (const int8_t *scalar = q; scalar != end; scalar++, key += KERNEL_TILE) {
            uint64_t word = kernel_load_u64(key) ^ signs;
            for (uint32_t i = 0; i < 4; i++)
                lanes[i] += ((word >> (8 * i)) & mask) * (uint64_t)(int64_t)*scalar;
        }
        for (uint32_t i = 0; i < 4; i++) {
            int32_t low = (int32_t)(uint32_t)lanes[i];
            out[j + i] = low - offset;
            out[j + i + 4] = (int32_t)((lanes[i] - (uint64_t)(int64_t)low) >> 32) - offset;
        }
    }
}
