/* SPDX-License-Identifier: Apache-2.0 */
#include "port/hosted_processor.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Intel's manual, volume 2, CPUID: what x86-64-v3 means in leaves 1 and 7 and in 0x80000001. */
#define BIT(n) (1u << (n))
#define SSE    (BIT(0) | BIT(9) | BIT(19) | BIT(20)) /* SSE3, SSSE3, SSE4.1, SSE4.2 */
#define FMA    BIT(12)
#define WORDS  (BIT(13) | BIT(22) | BIT(23)) /* CMPXCHG16B, MOVBE, POPCNT */
#define XSAVE  BIT(27)                       /* the system keeps vectors, and XGETBV says which */
#define AVX    (BIT(28) | BIT(29))           /* and F16C */
#define LEAF_1 (SSE | FMA | WORDS | XSAVE | AVX)
#define AVX2   BIT(5)
#define LEAF_7 (BIT(3) | AVX2 | BIT(8)) /* BMI1, AVX2, BMI2 */
#define EXTRAS (BIT(0) | BIT(5))        /* LAHF, LZCNT */

/* Of XCR0: registers that the system keeps. */
#define KEEPS_YMM 0x06u
#define KEEPS_ZMM 0xe6u /* and masks */

struct leaf {
    uint32_t eax, ebx, ecx, edx;
};

/* Zeros where there is no such leaf. */
static struct leaf read_leaf(uint32_t number, uint32_t sub)
{
    struct leaf l = {0, 0, 0, 0};
    __get_cpuid_count(number, sub, &l.eax, &l.ebx, &l.ecx, &l.edx);
    return l;
}

static uint32_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static uint32_t bits(uint32_t word, uint32_t all, uint32_t feature)
{
    return (word & all) == all ? feature : 0;
}

uint32_t hosted_processor_features(void)
{
    struct leaf one = read_leaf(1, 0), seven = read_leaf(7, 0);
    uint32_t kept = one.ecx & XSAVE ? read_xcr0() : 0;
    if ((kept & KEEPS_YMM) != KEEPS_YMM || (one.ecx & LEAF_1) != LEAF_1)
        return 0;
    uint32_t found = PROCESSOR_FMA | bits(seven.ebx, AVX2, PROCESSOR_AVX2);
    if (bits(seven.ebx, LEAF_7, 1) && bits(read_leaf(0x80000001u, 0).ecx, EXTRAS, 1))
        found |= PROCESSOR_V3;
    found |= bits(read_leaf(7, 1).eax, BIT(4), PROCESSOR_AVXVNNI);
    if ((kept & KEEPS_ZMM) != KEEPS_ZMM)
        return found;
    found |= bits(seven.ebx, BIT(16), PROCESSOR_AVX512F);
    found |= bits(seven.ebx, BIT(30), PROCESSOR_AVX512BW);
    found |= bits(seven.ebx, BIT(31), PROCESSOR_AVX512VL);
    return found | bits(seven.ecx, BIT(11), PROCESSOR_AVX512VNNI);
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

#define HAS_ASIMDDP (1ul << 20) /* Linux' word for it in AT_HWCAP */

uint32_t hosted_processor_features(void)
{
    return getauxval(AT_HWCAP) & HAS_ASIMDDP ? PROCESSOR_DOTPROD : 0;
}
#else
uint32_t hosted_processor_features(void)
{
    return 0;
}
#endif
