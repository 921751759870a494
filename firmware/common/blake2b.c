/* SPDX-License-Identifier: Apache-2.0 */
#include "common/blake2b.h"

#include <string.h>

#include "common/le.h"
#include "common/load.h"

#define BLOCK 128u

/* Base RV64 has no rotation, so all ten different rounds one after the other would be 6 KiB of
 * code there. */
#if defined(__riscv) && !defined(__riscv_zbb)
#define UNROLLED 0
#else
#define UNROLLED 1
#endif

static const uint64_t initial[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                    0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                    0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

/* The order of the message's words in rounds 2 to 9. */
#define MIDDLE_ROUNDS(R)                                                                           \
    R(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)                                        \
    R(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)                                        \
    R(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)                                        \
    R(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)                                        \
    R(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)                                        \
    R(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)                                        \
    R(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)                                        \
    R(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)

#define ROTATE(x, n) ((x) >> (n) | (x) << (64 - (n)))

#define MIX(a, b, c, d, x, y)                                                                      \
    do {                                                                                           \
        a += b + (x);                                                                              \
        d = ROTATE(d ^ a, 32);                                                                     \
        c += d;                                                                                    \
        b = ROTATE(b ^ c, 24);                                                                     \
        a += b + (y);                                                                              \
        d = ROTATE(d ^ a, 16);                                                                     \
        c += d;                                                                                    \
        b = ROTATE(b ^ c, 63);                                                                     \
    } while (0)

/* WORD(i): the message's word that the round takes as its i-th. */
#define ROUND_OF(WORD, A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P)                             \
    MIX(v0, v4, v8, v12, WORD(A), WORD(B));                                                        \
    MIX(v1, v5, v9, v13, WORD(C), WORD(D));                                                        \
    MIX(v2, v6, v10, v14, WORD(E), WORD(F));                                                       \
    MIX(v3, v7, v11, v15, WORD(G), WORD(H));                                                       \
    MIX(v0, v5, v10, v15, WORD(I), WORD(J));                                                       \
    MIX(v1, v6, v11, v12, WORD(K), WORD(L));                                                       \
    MIX(v2, v7, v8, v13, WORD(M), WORD(N));                                                        \
    MIX(v3, v4, v9, v14, WORD(O), WORD(P));

#define DIRECT(i)  load_u64(block + 8 * (i))
#define ROUND(...) ROUND_OF(DIRECT, __VA_ARGS__)

#if UNROLLED
#define ROUNDS_2_TO_9() MIDDLE_ROUNDS(ROUND)
#else
/* Offsets in bytes. */
#define ROW(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P)                                        \
    {8 * A, 8 * B, 8 * C, 8 * D, 8 * E, 8 * F, 8 * G, 8 * H,                                       \
     8 * I, 8 * J, 8 * K, 8 * L, 8 * M, 8 * N, 8 * O, 8 * P},
static const uint8_t middle[8][16] = {MIDDLE_ROUNDS(ROW)};

#define LISTED(i) load_u64(block + (*row)[i])
#define ROUNDS_2_TO_9()                                                                            \
    for (const uint8_t (*row)[16] = middle; row != middle + 8; row++) {                            \
        ROUND_OF(LISTED, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)                     \
    }
#endif

/* `size`: bytes hashed up to the end of the first block. `final`: all ones in the last block, and
 * all ones in the last block of a level's last node. `restrict`, for else clang keeps less of the
 * state in registers. */
static void compress(uint64_t *restrict state, const uint8_t *block, uint64_t count, uint64_t size,
                     const uint64_t final[2])
{
    for (; count; count--, block += BLOCK, size += BLOCK) {
        uint64_t v0 = state[0], v1 = state[1], v2 = state[2], v3 = state[3];
        uint64_t v4 = state[4], v5 = state[5], v6 = state[6], v7 = state[7];
        uint64_t v8 = initial[0], v9 = initial[1], v10 = initial[2], v11 = initial[3];
        uint64_t v12 = initial[4] ^ size, v13 = initial[5];
        uint64_t v14 = initial[6] ^ final[0], v15 = initial[7] ^ final[1];

        /* Rounds 10 and 11 are 0 and 1 again. */
        for (uint32_t again = 0;; again++) {
            ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
            ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)
            if (again)
                break;
            ROUNDS_2_TO_9()
        }
        state[0] ^= v0 ^ v8, state[1] ^= v1 ^ v9, state[2] ^= v2 ^ v10, state[3] ^= v3 ^ v11;
        state[4] ^= v4 ^ v12, state[5] ^= v5 ^ v13, state[6] ^= v6 ^ v14, state[7] ^= v7 ^ v15;
    }
}

void blake2b_digest(const struct blake2b_node *node, const uint8_t *data, uint64_t size,
                    uint8_t digest[BLAKE2B_BYTES])
{
    const uint64_t more[2] = {0, 0}, final[2] = {~0ull, node->last ? ~0ull : 0};
    uint64_t before = size ? (size - 1) / BLOCK : 0; /* the last block is never empty */
    _Alignas(8) uint8_t tail[BLOCK] = {0};
    uint64_t state[8];

    memcpy(state, initial, sizeof state);
    state[0] ^= BLAKE2B_BYTES | (uint64_t)node->fanout << 16 | (uint64_t)node->depth << 24 |
                (uint64_t)node->leaf_bytes << 32;
    state[1] ^= node->index;
    state[2] ^= node->level | node->inner_bytes << 8;
    memcpy(tail, data + before * BLOCK, size - before * BLOCK);
    compress(state, data, before, BLOCK, more);
    compress(state, tail, 1, size, final);
    for (uint32_t i = 0; i < BLAKE2B_BYTES / 8; i++)
        le_put_u64(digest + 8 * i, state[i]);
}
