/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of attention.c: more sums than compilers keep in registers, in an order for
 * in-order cores that issue two instructions a cycle, one of them a load and one a multiplication
 * with latency 3, such as the U74. Needs RV64IM alone.
 *
 * void f(const uint64_t *words, const int8_t *bytes, size_t stride, const uint64_t *end,
 *        uint64_t *sums)
 *
 * sums the products of a step's words and bytes over an even number of steps, at least 2: of one
 * word and 16 bytes, or of two words and 8. `words` ends at `end`, `bytes` goes on by stride a step;
 * the first two bytes of the step behind the last are read too. A byte is loaded two slots before it
 * is multiplied with, and a product is added a slot or two after that. */
#if defined(__riscv)

#include "kernels/swar/loop.inc"

#define words  a0
#define bytes  a1
#define stride a2
#define end    a3

/* A frame of integers alone, and where the fifth argument waits. */
#define FRAME_INTEGERS 112
#define SUMS           104

    .macro save_integers
    addi sp, sp, -FRAME_INTEGERS
    sd ra, 0(sp)
    sd s0, 8(sp)
    sd s1, 16(sp)
    sd s2, 24(sp)
    sd s3, 32(sp)
    sd s4, 40(sp)
    sd s5, 48(sp)
    sd s6, 56(sp)
    sd s7, 64(sp)
    sd s8, 72(sp)
    sd s9, 80(sp)
    sd s10, 88(sp)
    sd s11, 96(sp)
    .endm

    .macro restore_integers
    ld ra, 0(sp)
    ld s0, 8(sp)
    ld s1, 16(sp)
    ld s2, 24(sp)
    ld s3, 32(sp)
    ld s4, 40(sp)
    ld s5, 48(sp)
    ld s6, 56(sp)
    ld s7, 64(sp)
    ld s8, 72(sp)
    ld s9, 80(sp)
    ld s10, 88(sp)
    ld s11, 96(sp)
    addi sp, sp, FRAME_INTEGERS
    ret
    .endm

/* ---- one word, 16 bytes ---- */

#define q   a4
#define b0  t0
#define b1  t1
#define b2  t2
#define b3  t3
#define s00 a5
#define s01 a6
#define s02 a7
#define s03 t4
#define s04 t5
#define s05 t6
#define s06 s0
#define s07 s1
#define s08 s2
#define s09 s3
#define s10_ s4
#define s11_ s5
#define s12 s6
#define s13 s7
#define s14 s8
#define s15 s9

/* Multiplies byte b, adds the product of the slot before the last to sum, and loads in its place
 * the byte at offset. */
    .macro slot b, sum, other, offset
    mul \b, \b, q
    add \sum, \sum, \other
    lb \other, \offset(bytes)
    .endm

    /* b0 and b1 are the step's first bytes, b2 and b3 the products of the last two before it. */
    .macro step next
    slot b0, s14, b2, 2
    slot b1, s15, b3, 3
    slot b2, s00, b0, 4
    slot b3, s01, b1, 5
    slot b0, s02, b2, 6
    slot b1, s03, b3, 7
    slot b2, s04, b0, 8
    slot b3, s05, b1, 9
    slot b0, s06, b2, 10
    slot b1, s07, b3, 11
    slot b2, s08, b0, 12
    slot b3, s09, b1, 13
    slot b0, s10_, b2, 14
    slot b1, s11_, b3, 15
    add bytes, bytes, stride
    slot b2, s12, b0, 0
    slot b3, s13, b1, 1
    ld q, \next(words)
    .endm

function swar_multiply_1
    save_integers
    sd a4, SUMS(sp)
    ld q, 0(words)
    lb b0, 0(bytes)
    lb b1, 1(bytes)
    .irp r, s00, s01, s02, s03, s04, s05, s06, s07, s08, s09, s10_, s11_, s12, s13, s14, s15, b2, b3
    li \r, 0
    .endr
    addi end, end, -16
    beq words, end, 2f
    .balign 4
1:
    step 8
    step 16
    addi words, words, 16
    bne words, end, 1b
2:
    step 8
    step 8 /* no word behind the last */
    add s14, s14, b2
    add s15, s15, b3
    ld a0, SUMS(sp)
    sd s00, 0(a0)
    sd s01, 8(a0)
    sd s02, 16(a0)
    sd s03, 24(a0)
    sd s04, 32(a0)
    sd s05, 40(a0)
    sd s06, 48(a0)
    sd s07, 56(a0)
    sd s08, 64(a0)
    sd s09, 72(a0)
    sd s10_, 80(a0)
    sd s11_, 88(a0)
    sd s12, 96(a0)
    sd s13, 104(a0)
    sd s14, 112(a0)
    sd s15, 120(a0)
    restore_integers
    .size swar_multiply_1, . - swar_multiply_1

#undef q
#undef b0
#undef b1
#undef b2
#undef b3

/* ---- two words, 8 bytes ----
 *
 * The first word's sums are s00 to s07, the second one's s08 to s15. */

#define q0 a4
#define q1 s10
#define b0 t0
#define b1 t1
#define p0 t2
#define p1 t3
#define r0 s11
#define r1 ra

/* Multiplies byte b, adds the products of the slot before, and loads the byte at offset. `first` and
 * `second` are the next words' offsets in the step's last slot. */
    .macro slots b, p, r, sum0, sum1, before0, before1, offset, first, second
    mul \p, \b, q0
    .ifnb \first
    ld q0, \first(words)
    .endif
    add \sum0, \sum0, \before0
    mul \r, \b, q1
    .ifnb \second
    ld q1, \second(words)
    .endif
    add \sum1, \sum1, \before1
    lb \b, \offset(bytes)
    .endm

    /* b0 and b1 are the step's first bytes, p1 and r1 the products of the last one before it. */
    .macro steps first, second
    slots b0, p0, r0, s07, s15, p1, r1, 2
    slots b1, p1, r1, s00, s08, p0, r0, 3
    slots b0, p0, r0, s01, s09, p1, r1, 4
    slots b1, p1, r1, s02, s10_, p0, r0, 5
    slots b0, p0, r0, s03, s11_, p1, r1, 6
    slots b1, p1, r1, s04, s12, p0, r0, 7
    add bytes, bytes, stride
    slots b0, p0, r0, s05, s13, p1, r1, 0
    slots b1, p1, r1, s06, s14, p0, r0, 1, \first, \second
    .endm

function swar_multiply_2
    save_integers
    sd a4, SUMS(sp)
    ld q0, 0(words)
    ld q1, 8(words)
    lb b0, 0(bytes)
    lb b1, 1(bytes)
    .irp r, s00, s01, s02, s03, s04, s05, s06, s07, s08, s09, s10_, s11_, s12, s13, s14, s15, p1, r1
    li \r, 0
    .endr
    addi end, end, -32
    beq words, end, 2f
    .balign 4
1:
    steps 16, 24
    steps 32, 40
    addi words, words, 32
    bne words, end, 1b
2:
    steps 16, 24
    steps 16, 24 /* no words behind the last */
    add s07, s07, p1
    add s15, s15, r1
    ld a0, SUMS(sp)
    sd s00, 0(a0)
    sd s01, 8(a0)
    sd s02, 16(a0)
    sd s03, 24(a0)
    sd s04, 32(a0)
    sd s05, 40(a0)
    sd s06, 48(a0)
    sd s07, 56(a0)
    sd s08, 64(a0)
    sd s09, 72(a0)
    sd s10_, 80(a0)
    sd s11_, 88(a0)
    sd s12, 96(a0)
    sd s13, 104(a0)
    sd s14, 112(a0)
    sd s15, 120(a0)
    restore_integers
    .size swar_multiply_2, . - swar_multiply_2

#endif
