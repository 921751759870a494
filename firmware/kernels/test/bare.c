/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel tests on a bare simulator: output to the UART that Spike and QEMU's virt machine
 * share, the end to the HTIF word of the one and the test device of the other. */

#include "kernels/test/cases.h"

#define UART     ((volatile uint8_t *)0x10000000)
#define FINISHER ((volatile uint32_t *)0x100000)
#define PASS     0x5555u

volatile uint64_t tohost __attribute__((section(".tohost"), aligned(64)));
volatile uint64_t fromhost __attribute__((section(".tohost"), aligned(64)));

static void put(const char *line)
{
    while (*line)
        *UART = (uint8_t)*line++;
    *UART = '\n';
}

static uint64_t instret(void)
{
    uint64_t v;
    __asm__ volatile("csrr %0, minstret" : "=r"(v)::"memory");
    return v;
}

void bare_main(void);
void bare_main(void)
{
    static const struct test_port port = {put, instret};
    test_run(&port);
    tohost = 1;
    *FINISHER = PASS;
    for (;;)
        ;
}
