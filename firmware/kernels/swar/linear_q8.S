/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of linear_q8.c, for reasons as in linear_q4_q4m.S. Needs RV64IMFD alone. */
#if defined(__riscv)

#include "kernels/swar/loop.inc"

#define START   96 /* of struct packed */
#define SCALE   104
#define SUMS    128 /* from a record's scales */

/* ---- 16 weight rows, one input row: arguments as in linear_q4_q4m.S ---- */

#define values  a0
#define scales  a1
#define record  a2
#define three   a6
#define two     a7
#define high    a3 /* the upper of two bf16 */
#define x0      s0
#define x1      s1
#define x2      s2
#define x3      s3
#define x4      s4
#define x5      s5
#define x6      s6
#define x7      s7
#define x8      s8
#define x9      s9
#define x10     s10
#define x11     s11
#define start   a4
#define pa      t0
#define pb      t1
#define pc      t2
#define qa      t3
#define qb      t4
#define qc      t5
#define even    t6
#define odd     ra
#define pair    a5
#define sx      ft8
#define fsum    ft9
#define seven   ft10
#define sodd    ft11

/* Multiplies and adds the word in a, b and c, loads the one after the next to a, and unpacks the
 * next one, which lies in n. */
    .macro word a, b, c, n, nb, nc, y0, y1, y2, sum, load, unpack
    mulhu \a, \a, \y2
    .if \unpack
    slli \nb, \n, 8
    .endif
    mulhu \b, \b, \y0
    .if \unpack
    and \nc, \n, three
    .endif
    mulhu \c, \c, \y1
    .if \unpack
    and \n, \n, two
    and \nb, \nb, three
    .endif
    add \sum, \sum, \a
    .if \load >= 0
    ld \a, \load(values)
    .endif
    add \sum, \sum, \b
    add \sum, \sum, \c
    .endm

/* Two rows from `row` on into accumulators a and b; `last` is that of the row before. */
    .macro rows row, last, a, b
    word pa, pb, pc, qa, qb, qc, x0, x1, x2, even, 32 * \row + 16, 1
    .if \row
    srai odd, odd, 40
    .endif
    lw pair, 2 * \row(scales)
    .if \row
    fcvt.s.w fsum, odd
    .endif
    word qa, qb, qc, pa, pb, pc, x3, x4, x5, even, 32 * \row + 24, 1
    slli qc, pair, 16
    and pair, pair, high
    fmv.w.x seven, qc
    word pa, pb, pc, qa, qb, qc, x6, x7, x8, even, 32 * \row + 32, 1
    .if \row
    fmadd.s \last, fsum, sodd, \last
    .endif
    fmv.w.x sodd, pair
    lh pair, SUMS + 2 * \row + 2(scales)
    fmul.s seven, seven, sx
    word qa, qb, qc, pa, pb, pc, x9, x10, x11, even, 32 * \row + 40, 1
    slli pair, pair, 7
    slli even, even, 40
    sub odd, start, pair
    word pa, pb, pc, qa, qb, qc, x0, x1, x2, odd, 32 * \row + 48, 1
    srai even, even, 40
    fmul.s sodd, sodd, sx
    fcvt.s.w fsum, even
    .if \row < 14
    lh pair, SUMS + 2 * \row + 4(scales)
    .endif
    word qa, qb, qc, pa, pb, pc, x3, x4, x5, odd, 32 * \row + 56, 1
    .if \row < 14
    word pa, pb, pc, qa, qb, qc, x6, x7, x8, odd, 32 * \row + 64, 1
    slli pair, pair, 7
    fmadd.s \a, fsum, seven, \a
    sub even, start, pair
    word qa, qb, qc, pa, pb, pc, x9, x10, x11, odd, 32 * \row + 72, 1
    .else
    word pa, pb, pc, qa, qb, qc, x6, x7, x8, odd, -1, 1
    fmadd.s \a, fsum, seven, \a
    word qa, qb, qc, pa, pb, pc, x9, x10, x11, odd, -1, 0
    .endif
    slli odd, odd, 40
    .endm

    function swar_q8_single
    save
    each_accumulator flw
    sd a3, LOCAL0(sp)
    sd a4, LOCAL1(sp)
    mul a5, a5, a4
    add a5, a5, a3
    sd a5, LOCAL2(sp)
    sd a6, LOCAL3(sp)
    li three, 0xFF0000FF0000FF00
    li two, 0x0000FF0000FF0000
    lui high, 0xFFFF0
1:
    ld pair, LOCAL0(sp)
    ld pa, 0(values)
    lh even, SUMS(scales)
    ld start, START(pair)
    ld x0, 0(pair)
    ld x1, 8(pair)
    slli pb, pa, 8
    and pc, pa, three
    slli even, even, 7
    ld x2, 16(pair)
    and pa, pa, two
    and pb, pb, three
    ld x3, 24(pair)
    sub even, start, even
    ld x4, 32(pair)
    ld qa, 8(values)
    ld x5, 40(pair)
    ld x6, 48(pair)
    ld x7, 56(pair)
    ld x8, 64(pair)
    ld x9, 72(pair)
    ld x10, 80(pair)
    ld x11, 88(pair)
    flw sx, SCALE(pair)
    ld qb, LOCAL1(sp)
    ld qc, LOCAL2(sp)
    add pair, pair, qb
    sd pair, LOCAL0(sp)
    xor qc, qc, pair
    snez qc, qc
    neg qc, qc
    and record, record, qc
    add qb, values, record
    lw zero, 0(qb)
    lw zero, 64(qb)
    lw zero, 128(qb)
    lw zero, 192(qb)
    lw zero, 256(qb)
    lw zero, 320(qb)
    lw zero, 384(qb)
    lw zero, 448(qb)
    add qb, scales, record
    lw zero, 0(qb)
    lw zero, SUMS(qb)
    rows 0, 0, fa0, fa1
    rows 2, fa1, fa2, fa3
    rows 4, fa3, fa4, fa5
    rows 6, fa5, fa6, fa7
    rows 8, fa7, ft0, ft1
    rows 10, ft1, ft2, ft3
    rows 12, ft3, ft4, ft5
    rows 14, ft5, ft6, ft7
    srai odd, odd, 40
    add values, values, record
    fcvt.s.w fsum, odd
    add scales, scales, record
    fmadd.s ft7, fsum, sodd, ft7
    bnez record, 1b
    ld a6, LOCAL3(sp)
    each_accumulator fsw
    restore

/* ---- 4 weight rows at a time, several input rows ----
 *
 * void f(const uint8_t *values, const uint64_t *in, uint64_t *sums, uint64_t *sums_end)
 *
 * sums[row][word] of 3 words a row, of which 2 or 3 are used, for all rows up to sums_end; `in`
 * is what they begin with, then the columns. A weight is loaded and the products before are added while others are multiplied.
 * The last loads are of what lies behind the columns, and are not used.
 */

#undef values
#undef x0
#undef x1
#undef x2
#undef pa
#undef pb
#undef pc
#undef qa
#undef qb
#undef qc

#define values a0
#define in     a1
#define end    a2
#define x0     a3
#define x1     a4
#define x2     a5
#define u      a6
#define v      a7
#define pa     t0
#define pb     t1
#define pc     t2
#define qa     t3
#define qb     t4
#define qc     t5

/* One weight: `u` times the column to pa, pb and pc; the sums before get qa, qb and qc. */
    .macro weight words, u, next, at, pa, pb, pc, sa, sb, sc, qa, qb, qc, column
    lbu \next, \at(values)
    mul \pa, \u, x0
    add \sa, \sa, \qa
    .if \column
    ld x0, 8 * \words * \column(in)
    .endif
    mul \pb, \u, x1
    add \sb, \sb, \qb
    .if \column
    ld x1, 8 * \words * \column + 8(in)
    .endif
    .if \words > 2
    mul \pc, \u, x2
    add \sc, \sc, \qc
    .if \column
    ld x2, 8 * \words * \column + 16(in)
    .endif
    .endif
    .endm

    .macro column words, k
    weight \words, u, v, 32 + \k, pa, pb, pc, s9, s10, s11, qa, qb, qc, 0
    weight \words, v, u, 64 + \k, qa, qb, qc, s0, s1, s2, pa, pb, pc, 0
    weight \words, u, v, 96 + \k, pa, pb, pc, s3, s4, s5, qa, qb, qc, 0
    weight \words, v, u, 1 + \k, qa, qb, qc, s6, s7, s8, pa, pb, pc, (\k + 1)
    .endm

    .macro sums words
    save
    sd a2, LOCAL0(sp)
    sd a3, LOCAL1(sp)
1:
    addi end, values, 32
    ld s0, 0(in)
    ld s1, 8(in)
    .if \words > 2
    ld s2, 16(in)
    .endif
    addi in, in, 8 * \words
    lbu u, 0(values)
    ld x0, 0(in)
    ld x1, 8(in)
    .if \words > 2
    ld x2, 16(in)
    .endif
    mv s3, s0
    mv s4, s1
    mv s5, s2
    mv s6, s0
    mv s7, s1
    mv s8, s2
    mv s9, s0
    mv s10, s1
    mv s11, s2
    li qa, 0
    li qb, 0
    li qc, 0
2:
    column \words, 0
    column \words, 1
    column \words, 2
    column \words, 3
    column \words, 4
    column \words, 5
    column \words, 6
    column \words, 7
    addi values, values, 8
    addi in, in, 64 * \words
    bne values, end, 2b
    ld a2, LOCAL0(sp)
    ld a3, LOCAL1(sp)
    addi values, values, 96
    addi in, in, -264 * \words
    add s9, s9, qa
    add s10, s10, qb
    add s11, s11, qc
    sd s0, 0(a2)
    sd s1, 8(a2)
    sd s2, 16(a2)
    sd s3, 24(a2)
    sd s4, 32(a2)
    sd s5, 40(a2)
    sd s6, 48(a2)
    sd s7, 56(a2)
    sd s8, 64(a2)
    sd s9, 72(a2)
    sd s10, 80(a2)
    sd s11, 88(a2)
    addi a2, a2, 96
    sd a2, LOCAL0(sp)
    bne a2, a3, 1b
    restore
    .endm

    function swar_q8_sums2
    sums 2
    function swar_q8_sums3
    sums 3

#endif
