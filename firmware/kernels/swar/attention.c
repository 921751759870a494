/* SPDX-License-Identifier: Apache-2.0 */

/* Scores of a page's 64 keys, four positions in one multiply.
 *
 * Eight positions of one dimension are a word; u = k + 128 in four lanes of 16 bits, the even and
 * the odd bytes of the word, times the signed q of that dimension. Of two dimensions the lanes'
 * sum, less 128 (q + q') and plus 2^15, is k q + k' q' + 2^15: within 0..65535, so that lanes
 * neither borrow nor carry in the end, whatever they did between. `all` sums these words modulo
 * 2^64 and `high` their upper halves in two lanes of 32 bits; the lower halves are the difference.
 */

#include "kernels/load.h"
#include "kernels/swar/swar.h"

#define SIGNS     0x8080808080808080ull
#define BYTES     0x00FF00FF00FF00FFull
#define HALVES    0x0000FFFF0000FFFFull
#define ONES      0x0001000100010001ull
#define MAX_PAIRS 128u /* of dimensions: LIMIT_HEAD_DIM / 2 */

#define INLINE static inline __attribute__((always_inline))

struct lanes {
    uint64_t all, high;
};

struct masks {
    uint64_t signs, bytes, halves;
};

/* Two dimensions and their bias; `key` is the word of the first one. */
struct pair {
    uint64_t q0, q1, bias;
};

INLINE void lanes_add(struct lanes *lanes, uint64_t word, const struct masks *m)
{
    lanes->all += word;
    lanes->high += word >> 16 & m->halves;
}

/* Eight positions of two dimensions. */
INLINE void dot_pair(struct lanes lanes[2], const int8_t *key, const struct pair *p,
                     const struct masks *m)
{
    uint64_t a = kernel_load_u64(key) ^ m->signs;
    uint64_t b = kernel_load_u64(key + KERNEL_TILE) ^ m->signs;
    lanes_add(&lanes[0], (a & m->bytes) * p->q0 + (b & m->bytes) * p->q1 + p->bias, m);
    lanes_add(&lanes[1], (a >> 8 & m->bytes) * p->q0 + (b >> 8 & m->bytes) * p->q1 + p->bias, m);
}

/* Positions 0, 2, 4 and 6 behind `out`. */
INLINE void lanes_store(const struct lanes *lanes, int32_t offset, int32_t *out)
{
    uint64_t low = lanes->all - (lanes->high << 16);
    out[0] = (int32_t)(uint32_t)low - offset;
    out[2] = (int32_t)(uint32_t)lanes->high - offset;
    out[4] = (int32_t)(low >> 32) - offset;
    out[6] = (int32_t)(lanes->high >> 32) - offset;
}

void swar_dot_i8(const int8_t *q, const int8_t *k, uint32_t head_dim, uint32_t count, int32_t *out)
{
    struct pair pairs[MAX_PAIRS], *end = pairs;
    for (size_t d = 0; d < head_dim; d += 2)
        *end++ = (struct pair){(uint64_t)(int64_t)q[d], (uint64_t)(int64_t)q[d + 1],
                               ONES * (uint64_t)(int64_t)(0x8000 - 128 * (q[d] + q[d + 1]))};
    int32_t offset = (int32_t)(end - pairs) * 0x8000;
    struct masks m = {SIGNS, BYTES, HALVES};
    KERNEL_KEEP(m.signs);
    KERNEL_KEEP(m.bytes);
    KERNEL_KEEP(m.halves);
    for (size_t j = 0; j < count; j += 16) {
        struct lanes first[2] = {{0, 0}, {0, 0}}, second[2] = {{0, 0}, {0, 0}};
        const int8_t *key = k + j;
        for (const struct pair *p = pairs; p != end; p++, key += 2 * KERNEL_TILE) {
            dot_pair(first, key, p, &m);
            dot_pair(second, key + 8, p, &m);
        }
        for (size_t i = 0; i < 2; i++) {
            lanes_store(&first[i], offset, out + j + i);
            lanes_store(&second[i], offset, out + j + 8 + i);
        }
    }
}
