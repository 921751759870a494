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

/* Two dimensions of a query and their bias. */
struct pair {
    uint64_t q0, q1, bias;
};

INLINE void lanes_add(struct lanes *lanes, uint64_t word, const struct masks *m)
{
    lanes->all += word;
    lanes->high += word >> 16 & m->halves;
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

/* The even positions of `words` times eight, the odd ones, or both: `first` and `last` are 0 or 1.
 * The sums of all `heads` stay in registers, and the heads share the unpacked keys. All four are
 * constants. */
INLINE void dot_columns(const struct pair *p, const struct pair *end, const int8_t *key,
                        const struct masks *m, size_t words, size_t first, size_t last,
                        size_t heads, int32_t offset, int32_t *out)
{
    struct lanes sums[KERNEL_HEADS][2][2] = {0};
    for (; p != end; p += heads, key += 2 * KERNEL_TILE)
        for (size_t w = 0; w < words; w++) {
            uint64_t a = load_u64(key + 8 * w) ^ m->signs;
            uint64_t b = load_u64(key + 8 * w + KERNEL_TILE) ^ m->signs;
            for (size_t odd = first; odd <= last; odd++) {
                uint64_t a4 = a >> 8 * odd & m->bytes, b4 = b >> 8 * odd & m->bytes;
                for (size_t h = 0; h < heads; h++)
                    lanes_add(&sums[h][w][odd], a4 * p[h].q0 + b4 * p[h].q1 + p[h].bias, m);
            }
        }
    for (size_t h = 0; h < heads; h++)
        for (size_t w = 0; w < words; w++)
            for (size_t odd = first; odd <= last; odd++)
                lanes_store(&sums[h][w][odd], offset, out + h * KERNEL_TILE + 8 * w + odd);
}

void swar_dot_i8(const int8_t *q, uint32_t heads, const int8_t *k, uint32_t head_dim,
                 uint32_t count, int32_t *out)
{
    struct pair pairs[MAX_PAIRS * KERNEL_HEADS], *end = pairs;
    for (size_t d = 0; d < head_dim; d += 2)
        for (size_t h = 0; h < heads; h++) {
            int64_t q0 = q[h * head_dim + d], q1 = q[h * head_dim + d + 1];
            *end++ = (struct pair){(uint64_t)q0, (uint64_t)q1,
                                   ONES * (uint64_t)(0x8000 - 128 * (q0 + q1))};
        }
    int32_t offset = (int32_t)head_dim / 2 * 0x8000;
    struct masks m = {SIGNS, BYTES, HALVES};
    KERNEL_KEEP(m.signs);
    KERNEL_KEEP(m.bytes);
    KERNEL_KEEP(m.halves);
    for (size_t j = 0; heads == 1 && j < count; j += 16)
        dot_columns(pairs, end, k + j, &m, 2, 0, 1, 1, offset, out + j);
    for (size_t j = 0; heads == 2 && j < count; j += 8)
        dot_columns(pairs, end, k + j, &m, 1, 0, 1, 2, offset, out + j);
    for (size_t j = 0; heads == 3 && j < count; j += 8) {
        dot_columns(pairs, end, k + j, &m, 1, 0, 0, 3, offset, out + j);
        dot_columns(pairs, end, k + j, &m, 1, 1, 1, 3, offset, out + j);
    }
}
