/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel tests as a program for AArch64 Linux, by two system calls, without a C library. */

#include "kernels/test/cases.h"

#define SYS_WRITE 64
#define SYS_EXIT  93
#define STDOUT    1

static long system_call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

static void put(const char *line)
{
    long size = 0;
    while (line[size])
        size++;
    system_call(SYS_WRITE, STDOUT, (long)line, size);
    system_call(SYS_WRITE, STDOUT, (long)"\n", 1);
}

static uint64_t instret(void)
{
    return 0;
}

void _start(void);
void _start(void)
{
    static const struct test_port port = {put, instret};
    test_run(&port);
    system_call(SYS_EXIT, 0, 0, 0);
}
