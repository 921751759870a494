/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers/sbi.h"

#define EXT_BASE 0x10
#define EXT_TIME 0x54494d45
#define EXT_IPI  0x735049
#define EXT_HSM  0x48534d
#define EXT_SRST 0x53525354

struct sbi_result {
    long error;
    long value;
};

static struct sbi_result call(long extension, long function, uintptr_t x, uintptr_t y, uintptr_t z)
{
    register uintptr_t a0 __asm__("a0") = x;
    register uintptr_t a1 __asm__("a1") = y;
    register uintptr_t a2 __asm__("a2") = z;
    register long a6 __asm__("a6") = function;
    register long a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(long)a0, (long)a1};
}

long sbi_hart_status(uint32_t hart_id)
{
    struct sbi_result result = call(EXT_HSM, 2, hart_id, 0, 0);
    return result.error ? result.error : result.value;
}

long sbi_hart_start(uint32_t hart_id, uintptr_t entry, uintptr_t argument)
{
    return call(EXT_HSM, 0, hart_id, entry, argument).error;
}

void sbi_send_ipi(uint32_t hart_id)
{
    call(EXT_IPI, 0, 1, hart_id, 0);
}

void sbi_set_timer(uint64_t when)
{
    call(EXT_TIME, 0, when, 0, 0);
}

static uint64_t base_value(long function)
{
    struct sbi_result result = call(EXT_BASE, function, 0, 0, 0);
    return result.error ? 0 : (uint64_t)result.value;
}

uint64_t sbi_vendor(void)
{
    return base_value(4);
}

uint64_t sbi_implementation(void)
{
    return base_value(6);
}

void sbi_shutdown(int failed)
{
    call(EXT_SRST, 0, 0, failed != 0, 0);
}

void sbi_reset(void)
{
    call(EXT_SRST, 0, 1, 1, 0);
}
