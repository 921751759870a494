/* SPDX-License-Identifier: Apache-2.0 */
/* The hashes on a bare simulator: a line a digest, {hash} {bytes} {digest} {instructions}.
 * BLAKE2b's digests are those of the last leaf of three, of an image's tree.
 *
 * Byte i is the top byte of 2654435761 i. Output and end are those of kernels/test/bare.c.
 */
#include "common/blake2b.h"
#include "common/sha256.h"
#include "gen/image_format.h"

#define UART  ((volatile uint8_t *)0x10000000)
#define BYTES 65536u
#define DRAWN 24u

volatile uint64_t tohost __attribute__((section(".tohost"), aligned(64)));
volatile uint64_t fromhost __attribute__((section(".tohost"), aligned(64)));

static _Alignas(8) uint8_t data[BYTES];

static void put(const char *text)
{
    while (*text)
        *UART = (uint8_t)*text++;
}

static void put_number(uint64_t value)
{
    char text[24], *at = text + sizeof text - 1;
    *at = 0;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    put(at);
}

static uint64_t instret(void)
{
    uint64_t v;
    __asm__ volatile("csrr %0, minstret" : "=r"(v)::"memory");
    return v;
}

static void show(const char *name, uint32_t size, const uint8_t digest[32], uint64_t instructions)
{
    put(name);
    put_number(size);
    put(" ");
    for (uint32_t i = 0; i < 64; i++)
        *UART = (uint8_t)"0123456789abcdef"[digest[i / 2] >> (i % 2 ? 0 : 4) & 15];
    put(" ");
    put_number(instructions);
    put("\n");
}

static void hash(uint32_t size)
{
    const struct blake2b_node node = {.depth = 2,
                                      .leaf_bytes = IMAGE_LEAF_BYTES,
                                      .inner_bytes = IMAGE_HASH_BYTES,
                                      .index = 2,
                                      .last = 1};
    uint8_t digest[32];

    uint64_t before = instret();
    sha256_digest(data, size, digest);
    show("sha256 ", size, digest, instret() - before);
    before = instret();
    blake2b_digest(&node, data, size, digest);
    show("blake2b ", size, digest, instret() - before);
}

void bare_main(void);
void bare_main(void)
{
    static const uint32_t sizes[] = {0, 1, 63, 64, 65, 127, 128, 129, 255, 256, 257, BYTES};

    for (uint32_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(2654435761u * i >> 24);
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        hash(sizes[i]);
    for (uint32_t i = 1; i <= DRAWN; i++)
        hash((2246822519u * i >> 16) % 4096);
    tohost = 1;
    for (;;)
        ;
}
