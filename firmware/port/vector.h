/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_VECTOR_H
#define PORT_VECTOR_H

/* Whether a core has the vectors that the firmware was built for, asked before the first vector
 * instruction. For files that are compiled without V. */

#include <stdint.h>

#define VECTOR_MIN_BITS 128u
#define VECTOR_MAX_BITS 1024u

#define VECTOR_NONE                                                                                \
    "this firmware is built for the V extension and this core has none: build with kernels=scalar"
#define VECTOR_OLD                                                                                 \
    "this core's vectors are version 0.7.1, which RVV 1.0 code does not run on: build with "       \
    "kernels=scalar"
#define VECTOR_LENGTH                                                                              \
    "this core's VLEN is not of 128 to 1024 bits, which the kernels need: build with "             \
    "kernels=scalar"

/* T-Head cores of before RVV 1.0 answer so; encodings overlap, so asking is the only safe way. */
#define VECTOR_OLD_VENDOR         0x5b7u
#define VECTOR_OLD_IMPLEMENTATION 0u

#if KERNELS_RVV

struct vector_answer {
    uint64_t bytes;  /* vlenb */
    uint64_t length; /* of vsetvli x0, e8, m1, ta, ma */
};

/* Traps on a core without vectors, or where they are switched off. */
static inline void vector_ask(struct vector_answer *answer)
{
    __asm__ volatile("csrr %0, 0xc22\n"
                     ".word 0x0c0072d7\n" /* vsetvli t0, x0, e8, m1, ta, ma */
                     "mv %1, t0"
                     : "=&r"(answer->bytes), "=r"(answer->length)
                     :
                     : "t0");
}

/* What is wrong with the answer, or 0. */
static inline const char *vector_problem(const struct vector_answer *answer)
{
    /* 0.7.1 does not know ta and ma, and grants nothing. */
    if (answer->length != answer->bytes)
        return VECTOR_OLD;
    if (answer->bytes < VECTOR_MIN_BITS / 8 || answer->bytes > VECTOR_MAX_BITS / 8)
        return VECTOR_LENGTH;
    return 0;
}

#endif

#endif
