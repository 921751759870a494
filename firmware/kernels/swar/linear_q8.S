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

/* ---- 16 weight rows without sums, one input row: arguments the same ----
 *
 * The input's 16 factors fill the registers: a row's sum begins with what a floating-point register
 * keeps, and becomes a float during the next row.
 */

#undef record
#undef three
#undef two
#undef high
#undef start
#undef pa
#undef pb
#undef pc
#undef qa
#undef qb
#undef qc
#undef even
#undef odd
#undef pair

#define LEAN_START 128 /* of struct lean */
#define LEAN_SCALE 136

#define x12     a2
#define x13     a3
#define x14     a4
#define x15     a5
#define sum     a6
#define mask    a7 /* bytes 0 and 4 */
#define p0      t0
#define p1      t1
#define p2      t2
#define p3      t3
#define q0      t4
#define q1      t5
#define q2      t6
#define q3      ra
#define record  fs0 /* these two are integers */
#define start   fs1
#define seven   ft10
#define sodd    ft11

/* Multiplies and adds the word in p0 to p3, loads the one after the next to p0, and unpacks the
 * next one, which lies in q0. `row` and `part` say which; `last` is the accumulator of the row
 * before, `before` and `scale` the scales of that row and of this one. */
    .macro lean p0, p1, p2, p3, q0, q1, q2, q3, y0, y1, y2, y3, row, part, last, before, scale
    mul \p0, \p0, \y0
    srli \q1, \q0, 8
    mul \p1, \p1, \y1
    .if \part == 1
    slli \q2, \q2, 16
    fmv.w.x \scale, \q2
    .endif
    srli \q2, \q0, 16
    mul \p2, \p2, \y2
    .if \row && \part == 0
    srai sum, sum, 32
    .endif
    srli \q3, \q0, 24
    mul \p3, \p3, \y3
    and \q1, \q1, mask
    .if \part == 0
    .if \row
    fcvt.s.w fsum, sum
    .endif
    fmv.x.d sum, start
    .endif
    .if \part == 1
    fmul.s \scale, \scale, sx
    .endif
    and \q2, \q2, mask
    add sum, sum, \p0
    .if 4 * \row + \part < 62
    ld \p0, 32 * \row + 8 * \part + 16(values)
    .endif
    add sum, sum, \p1
    and \q3, \q3, mask
    add sum, sum, \p2
    .if \part == 0
    lh \p2, 2 * \row(scales)
    .endif
    add sum, sum, \p3
    .if \row && \part == 1
    fmadd.s \last, fsum, \before, \last
    .endif
    .endm

    .macro lean_row row, last, before, scale
    lean p0, p1, p2, p3, q0, q1, q2, q3, x0, x1, x2, x3, \row, 0, \last, \before, \scale
    lean q0, q1, q2, q3, p0, p1, p2, p3, x4, x5, x6, x7, \row, 1, \last, \before, \scale
    lean p0, p1, p2, p3, q0, q1, q2, q3, x8, x9, x10, x11, \row, 2, \last, \before, \scale
    lean q0, q1, q2, q3, p0, p1, p2, p3, x12, x13, x14, x15, \row, 3, \last, \before, \scale
    .endm

    function swar_q8_lean_single
    save
    each_accumulator flw
    sd a3, LOCAL0(sp)
    sd a4, LOCAL1(sp)
    mul a5, a5, a4
    add a5, a5, a3
    sd a5, LOCAL2(sp)
    sd a6, LOCAL3(sp)
    fmv.d.x record, a2
    li mask, 0x000000FF000000FF
1:
    ld p1, LOCAL0(sp)
    ld p0, 0(values)
    ld q0, 8(values)
    ld p2, LEAN_START(p1)
    ld x0, 0(p1)
    ld x1, 8(p1)
    ld x2, 16(p1)
    ld x3, 24(p1)
    ld x4, 32(p1)
    ld x5, 40(p1)
    ld x6, 48(p1)
    ld x7, 56(p1)
    ld x8, 64(p1)
    fmv.d.x start, p2
    ld x9, 72(p1)
    ld x10, 80(p1)
    ld x11, 88(p1)
    ld x12, 96(p1)
    ld x13, 104(p1)
    ld x14, 112(p1)
    ld x15, 120(p1)
    flw sx, LEAN_SCALE(p1)
    ld p2, LOCAL1(sp)
    ld p3, LOCAL2(sp)
    fmv.x.d q1, record
    add p1, p1, p2
    sd p1, LOCAL0(sp)
    xor p3, p3, p1
    snez p3, p3
    neg p3, p3
    and q1, q1, p3
    fmv.d.x record, q1
    add q2, values, q1
    lw zero, 0(q2)
    lw zero, 64(q2)
    lw zero, 128(q2)
    lw zero, 192(q2)
    lw zero, 256(q2)
    lw zero, 320(q2)
    lw zero, 384(q2)
    lw zero, 448(q2)
    add q2, scales, q1
    lw zero, 0(q2)
    srli p1, p0, 8
    srli p2, p0, 16
    and p1, p1, mask
    srli p3, p0, 24
    and p2, p2, mask
    and p3, p3, mask
    lean_row 0, fa0, sodd, seven
    lean_row 1, fa0, seven, sodd
    lean_row 2, fa1, sodd, seven
    lean_row 3, fa2, seven, sodd
    lean_row 4, fa3, sodd, seven
    lean_row 5, fa4, seven, sodd
    lean_row 6, fa5, sodd, seven
    lean_row 7, fa6, seven, sodd
    lean_row 8, fa7, sodd, seven
    lean_row 9, ft0, seven, sodd
    lean_row 10, ft1, sodd, seven
    lean_row 11, ft2, seven, sodd
    lean_row 12, ft3, sodd, seven
    lean_row 13, ft4, seven, sodd
    lean_row 14, ft5, sodd, seven
    lean_row 15, ft6, seven, sodd
    srai sum, sum, 32
    fmv.x.d p1, record
    fcvt.s.w fsum, sum
    add values, values, p1
    add scales, scales, p1
    fmadd.s ft7, fsum, sodd, ft7
    bnez p1, 1b
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
#undef p0
#undef p1
#undef p2
#undef p3
#undef q0
#undef q1
#undef q2
#undef q3

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
