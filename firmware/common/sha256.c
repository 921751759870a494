/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha256.h"

#include <string.h>

#define SHA256_BLOCK 64u

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t load_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store_be(uint8_t *p, uint32_t v)
{
    for (uint32_t i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

#if defined(__riscv) && !defined(__riscv_zbb)
/* Base RV64 has no rotation: the word twice in 64 bits makes each of them one shift. */
#define SPREAD(x)    ((uint64_t)(x) << 32 | (x))
#define ROTATE(x, n) ((uint32_t)((x) >> (n)))
#else
#define SPREAD(x)    (x)
#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))
#endif

static inline uint32_t big_sigma(uint32_t word, uint32_t a, uint32_t b, uint32_t c)
{
    const __typeof__(SPREAD(word)) x = SPREAD(word);
    return ROTATE(x, a) ^ ROTATE(x, b) ^ ROTATE(x, c);
}

static inline uint32_t small_sigma(uint32_t word, uint32_t a, uint32_t b, uint32_t shift)
{
    const __typeof__(SPREAD(word)) x = SPREAD(word);
    return ROTATE(x, a) ^ ROTATE(x, b) ^ word >> shift;
}

/* One round. The caller turns the names of the eight words instead of moving their values. */
#define ROUND(a, b, c, d, e, f, g, h, j)                                                           \
    do {                                                                                           \
        uint32_t t = h + big_sigma(e, 6, 11, 25) + (g ^ (e & (f ^ g))) + k[j] + w[j];              \
        d += t;                                                                                    \
        h = t + big_sigma(a, 2, 13, 22) + (b ^ ((a ^ b) & (b ^ c)));                               \
    } while (0)

/* All 64 words first: kept in registers beside the state they would be spilled and read back. */
static void schedule(uint32_t w[64], const uint8_t *block)
{
    for (uint32_t i = 0; i < 16; i++)
        w[i] = load_be(block + 4 * i);
    for (uint32_t i = 16; i < 64; i++)
        w[i] = w[i - 16] + small_sigma(w[i - 15], 7, 18, 3) + w[i - 7] +
               small_sigma(w[i - 2], 17, 19, 10);
}

static void compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    uint32_t words[64];
    const uint32_t *k = round_constants, *w = words;

    schedule(words, block);
    for (uint32_t i = 0; i < 64; i += 8, k += 8, w += 8) {
        ROUND(a, b, c, d, e, f, g, h, 0);
        ROUND(h, a, b, c, d, e, f, g, 1);
        ROUND(g, h, a, b, c, d, e, f, 2);
        ROUND(f, g, h, a, b, c, d, e, 3);
        ROUND(e, f, g, h, a, b, c, d, 4);
        ROUND(d, e, f, g, h, a, b, c, 5);
        ROUND(c, d, e, f, g, h, a, b, 6);
        ROUND(b, c, d, e, f, g, h, a, 7);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void sha256_digest(const uint8_t *data, uint64_t size, uint8_t digest[SHA256_BYTES])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t tail[2 * SHA256_BLOCK] = {0};
    uint64_t whole = size / SHA256_BLOCK * SHA256_BLOCK;
    uint32_t rest = (uint32_t)(size - whole);
    uint32_t padded = rest < SHA256_BLOCK - 8 ? SHA256_BLOCK : 2 * SHA256_BLOCK;

    for (uint64_t i = 0; i < whole; i += SHA256_BLOCK)
        compress(state, data + i);
    memcpy(tail, data + whole, rest);
    tail[rest] = 0x80;
    store_be(tail + padded - 8, (uint32_t)(size >> 29));
    store_be(tail + padded - 4, (uint32_t)(size << 3));
    for (uint32_t i = 0; i < padded; i += SHA256_BLOCK)
        compress(state, tail + i);
    for (uint32_t i = 0; i < 8; i++)
        store_be(digest + 4 * i, state[i]);
}
