/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of linear_q4_q4m.c, which says what the words mean: more values than compilers keep
 * in registers, in an order for in-order cores that issue two instructions a cycle, one of them a
 * load and one a multiplication with latency 3, such as the U74. Needs RV64IMFD alone.
 *
 * void f(const uint8_t *values, const uint8_t *scales, size_t record, const struct packed *in,
 *        size_t in_stride, size_t groups, float *acc, size_t acc_stride)
 *
 * adds groups, at least 1, of the first weight rows to acc: 16 rows and one input row, or 2 rows
 * and 2, 4 or 8 input rows. `in` goes on by in_stride bytes a group, acc by acc_stride an input
 * row, values and scales by record. */
#if defined(__riscv)

#include "kernels/swar/loop.inc"

#define START   64 /* of struct packed */
#define SCALE   72
#define OFFSET  76
#define PACKED  80
#define MASK    0x000F000F000F000F
#define MINIMA  128 /* from a record's scales */

/* ---- 16 weight rows, one input row ----
 *
 * The input's factors x0 to x7 stay in registers for the group. A row is two words: while one is
 * multiplied and added, the next one is unpacked; a row's sum becomes a float during the next row.
 */

#define values  a0
#define scales  a1
#define record  a2
#define in      a3
#define stride  a4
#define groups  a5
#define mask    a6
#define high    a7 /* the upper of two bf16 */
#define x0      s0
#define x1      s1
#define x2      s2
#define x3      s3
#define x4      s4
#define x5      s5
#define x6      s6
#define x7      s7
#define start   s8
#define p0      t0
#define p1      t1
#define p2      t2
#define p3      t3
#define q0      t4
#define q1      t5
#define q2      t6
#define q3      s9
#define even    s10
#define odd     s11
#define pair    ra /* two bf16 */
#define sx      ft8
#define fsum    ft9
#define seven   ft10
#define sodd    ft11
#define offset  fs0
#define meven   fs1
#define modd    fs2

/* Two rows from `row` on into accumulators `a` and `b`; `last` is that of the row before, and
 * `before` that of the row before it, both 0 if there is none. */
    .macro rows row, before, last, a, b, minimum
    mul p0, p0, x0
    srli q1, q0, 4
    mul p1, p1, x1
    srli q2, q0, 8
    mul p2, p2, x2
    srli q3, q0, 12
    mul p3, p3, x3
    and q1, q1, mask
    .if \row
    srai odd, odd, 48
    .endif
    add even, start, p0
    ld p0, 16 * \row + 16(values)
    .if \row
    fcvt.s.w fsum, odd
    .endif
    add even, even, p1
    and q2, q2, mask
    .if \row && \minimum
    fmadd.s \before, meven, offset, \before
    .endif
    add even, even, p2
    and q3, q3, mask
    add even, even, p3
    lw pair, 2 * \row(scales)

    mul q0, q0, x4
    srli p1, p0, 4
    mul q1, q1, x5
    srli p2, p0, 8
    mul q2, q2, x6
    srli p3, p0, 12
    mul q3, q3, x7
    and p1, p1, mask
    .if \row
    fmadd.s \last, fsum, sodd, \last
    .endif
    add even, even, q0
    ld q0, 16 * \row + 24(values)
    add even, even, q1
    and p2, p2, mask
    slli q1, pair, 16
    add even, even, q2
    and p3, p3, mask
    fmv.w.x seven, q1
    add even, even, q3
    and pair, pair, high
    fmv.w.x sodd, pair

    mul p0, p0, x0
    srli q1, q0, 4
    mul p1, p1, x1
    srli q2, q0, 8
    mul p2, p2, x2
    srli q3, q0, 12
    mul p3, p3, x3
    and q1, q1, mask
    srai even, even, 48
    .if \minimum
    lw pair, MINIMA + 2 * \row(scales)
    .endif
    fcvt.s.w fsum, even
    add odd, start, p0
    .if \row < 14
    ld p0, 16 * \row + 32(values)
    .endif
    fmul.s seven, seven, sx
    add odd, odd, p1
    and q2, q2, mask
    .if \row && \minimum
    fmadd.s \last, modd, offset, \last
    .endif
    add odd, odd, p2
    and q3, q3, mask
    fmul.s sodd, sodd, sx
    add odd, odd, p3

    mul q0, q0, x4
    .if \row < 14
    srli p1, p0, 4
    .endif
    mul q1, q1, x5
    .if \row < 14
    srli p2, p0, 8
    .endif
    mul q2, q2, x6
    .if \row < 14
    srli p3, p0, 12
    .endif
    mul q3, q3, x7
    .if \row < 14
    and p1, p1, mask
    .endif
    fmadd.s \a, fsum, seven, \a
    add odd, odd, q0
    .if \row < 14
    ld q0, 16 * \row + 40(values)
    .endif
    add odd, odd, q1
    .if \minimum
    slli q1, pair, 16
    .endif
    .if \row < 14
    and p2, p2, mask
    .endif
    .if \minimum
    fmv.w.x meven, q1
    and pair, pair, high
    .endif
    add odd, odd, q2
    .if \row < 14
    and p3, p3, mask
    .endif
    .if \minimum
    fmv.w.x modd, pair
    .endif
    add odd, odd, q3
    .endm

/* Plain loads of the next group's lines, or of this one's again in the last group: there is no
 * prefetch instruction, and nothing may be read beyond the weight. */
    .macro single minimum
    save
    each_accumulator flw
    sd a6, LOCAL0(sp)
    li mask, MASK
    lui high, 0xFFFF0
1:
    ld p0, 0(values)
    addi groups, groups, -1
    ld x1, 8(in)
    snez p1, groups
    ld x2, 16(in)
    neg p1, p1
    ld x3, 24(in)
    and record, record, p1
    ld q0, 8(values)
    srli p1, p0, 4
    ld x0, 0(in)
    srli p2, p0, 8
    ld start, START(in)
    srli p3, p0, 12
    flw sx, SCALE(in)
    and p1, p1, mask
    ld x5, 40(in)
    add pair, values, record
    ld x6, 48(in)
    and p2, p2, mask
    ld x7, 56(in)
    and p3, p3, mask
    ld x4, 32(in)
    lw zero, 0(pair)
    lw zero, 64(pair)
    lw zero, 128(pair)
    lw zero, 192(pair)
    add pair, scales, record
    lw zero, 0(pair)
    .if \minimum
    flw offset, OFFSET(in)
    lw zero, MINIMA(pair)
    .endif
    add in, in, stride
    rows 0, 0, 0, fa0, fa1, \minimum
    rows 2, fa0, fa1, fa2, fa3, \minimum
    rows 4, fa2, fa3, fa4, fa5, \minimum
    rows 6, fa4, fa5, fa6, fa7, \minimum
    rows 8, fa6, fa7, ft0, ft1, \minimum
    rows 10, ft0, ft1, ft2, ft3, \minimum
    rows 12, ft2, ft3, ft4, ft5, \minimum
    rows 14, ft4, ft5, ft6, ft7, \minimum
    srai odd, odd, 48
    add values, values, record
    fcvt.s.w fsum, odd
    add scales, scales, record
    .if \minimum
    fmadd.s ft6, meven, offset, ft6
    .endif
    fmadd.s ft7, fsum, sodd, ft7
    .if \minimum
    fmadd.s ft7, modd, offset, ft7
    .endif
    bnez groups, 1b
    ld a6, LOCAL0(sp)
    each_accumulator fsw
    restore
    .endm

    function swar_q4_single
    single 0
    function swar_q4m_single
    single 1

#undef high
#undef mask
#undef x0
#undef x1
#undef x2
#undef x3
#undef x4
#undef x5
#undef x6
#undef x7
#undef start
#undef p0
#undef p1
#undef p2
#undef p3
#undef q0
#undef q1
#undef q2
#undef q3
#undef even
#undef odd
#undef pair
#undef sx
#undef fsum
#undef seven
#undef sodd
#undef offset
#undef meven
#undef modd

/* ---- 2 weight rows, several input rows ----
 *
 * The weights' factors stay in registers for the group, those of the first row in u, of the second
 * one in v.
 */

#define u0      s0
#define u1      s1
#define u2      s2
#define u3      s3
#define u4      s4
#define u5      s5
#define u6      s6
#define u7      s7
#define v0      s8
#define v1      s9
#define v2      s10
#define v3      s11
#define v4      t5
#define v5      t6
#define v6      a6
#define v7      a7
#define mask    fs0
#define su      fs1
#define sv      fs2
#define mu      fs3
#define mv      fs4
#define offset  fs5
#define fu      ft8
#define fv      ft9
#define pu      ft10
#define pv      ft11

    .macro unpack w, a, b, c
    srli \a, \w, 4
    srli \b, \w, 8
    srli \c, \w, 12
    and \a, \a, t0
    and \b, \b, t0
    and \c, \c, t0
    .endm

/* The products of a factor `x` with both rows; meanwhile those before are added and a factor is
 * loaded. t0 and t1 are the sums. */
    .macro step x, product, u, v, before_x, before
    mul \product, \x, \u
    add t0, t0, \before
    mul \x, \x, \v
    add t1, t1, \before_x
    .endm

/* An input row into accumulators a and b; those before become complete meanwhile. */
    .macro input index, last_a, last_b, a, b, minimum
    ld t2, PACKED * \index(in)
    ld t0, PACKED * \index + START(in)
    ld t4, PACKED * \index + 8(in)
    mul t3, t2, u0
    .if \index && \minimum
    flw offset, PACKED * \index - PACKED + OFFSET(in)
    .endif
    mul t2, t2, v0
    .if \index
    fmadd.s \last_a, fu, pu, \last_a
    .endif
    mul ra, t4, u1
    .if \index
    fmadd.s \last_b, fv, pv, \last_b
    .endif
    mul t4, t4, v1
    add t1, t0, t2
    ld t2, PACKED * \index + 16(in)
    add t0, t0, t3
    flw pv, PACKED * \index + SCALE(in)
    step t2, t3, u2, v2, t4, ra
    ld t4, PACKED * \index + 24(in)
    step t4, ra, u3, v3, t2, t3
    ld t2, PACKED * \index + 32(in)
    .if \index && \minimum
    fmadd.s \last_a, mu, offset, \last_a
    .endif
    step t2, t3, u4, v4, t4, ra
    ld t4, PACKED * \index + 40(in)
    .if \index && \minimum
    fmadd.s \last_b, mv, offset, \last_b
    .endif
    step t4, ra, u5, v5, t2, t3
    ld t2, PACKED * \index + 48(in)
    fmul.s pu, pv, su
    step t2, t3, u6, v6, t4, ra
    ld t4, PACKED * \index + 56(in)
    fmul.s pv, pv, sv
    step t4, ra, u7, v7, t2, t3
    add t0, t0, ra
    add t1, t1, t4
    srai t0, t0, 48
    srai t1, t1, 48
    fcvt.s.w fu, t0
    fcvt.s.w fv, t1
    .endm

    .macro last_input index, a, b, minimum
    .if \minimum
    flw offset, PACKED * \index + OFFSET(in)
    .endif
    add in, in, stride
    fmadd.s \a, fu, pu, \a
    fmadd.s \b, fv, pv, \b
    .if \minimum
    fmadd.s \a, mu, offset, \a
    fmadd.s \b, mv, offset, \b
    .endif
    .endm

    .macro accumulators op, count
    \op fa0, 0(a6)
    \op fa1, 4(a6)
    add a6, a6, a7
    \op fa2, 0(a6)
    \op fa3, 4(a6)
    .if \count > 2
    add a6, a6, a7
    \op fa4, 0(a6)
    \op fa5, 4(a6)
    add a6, a6, a7
    \op fa6, 0(a6)
    \op fa7, 4(a6)
    .endif
    .if \count > 4
    add a6, a6, a7
    \op ft0, 0(a6)
    \op ft1, 4(a6)
    add a6, a6, a7
    \op ft2, 0(a6)
    \op ft3, 4(a6)
    add a6, a6, a7
    \op ft4, 0(a6)
    \op ft5, 4(a6)
    add a6, a6, a7
    \op ft6, 0(a6)
    \op ft7, 4(a6)
    .endif
    .endm

    .macro several count, minimum
    save
    sd a6, LOCAL0(sp)
    sd a7, LOCAL1(sp)
    accumulators flw, \count
    li t0, MASK
    fmv.d.x mask, t0
1:
    ld u0, 0(values)
    fmv.x.d t0, mask
    ld u4, 8(values)
    ld v0, 16(values)
    ld v4, 24(values)
    unpack u0, u1, u2, u3
    lhu t1, 0(scales)
    unpack u4, u5, u6, u7
    lhu t2, 2(scales)
    unpack v0, v1, v2, v3
    slli t1, t1, 16
    slli t2, t2, 16
    unpack v4, v5, v6, v7
    fmv.w.x su, t1
    fmv.w.x sv, t2
    .if \minimum
    lhu t1, MINIMA(scales)
    lhu t2, MINIMA + 2(scales)
    slli t1, t1, 16
    slli t2, t2, 16
    fmv.w.x mu, t1
    fmv.w.x mv, t2
    .endif
    add values, values, record
    add scales, scales, record
    addi groups, groups, -1
    input 0, 0, 0, fa0, fa1, \minimum
    input 1, fa0, fa1, fa2, fa3, \minimum
    .if \count > 2
    input 2, fa2, fa3, fa4, fa5, \minimum
    input 3, fa4, fa5, fa6, fa7, \minimum
    .endif
    .if \count > 4
    input 4, fa6, fa7, ft0, ft1, \minimum
    input 5, ft0, ft1, ft2, ft3, \minimum
    input 6, ft2, ft3, ft4, ft5, \minimum
    input 7, ft4, ft5, ft6, ft7, \minimum
    .endif
    .if \count == 2
    last_input 1, fa2, fa3, \minimum
    .elseif \count == 4
    last_input 3, fa6, fa7, \minimum
    .else
    last_input 7, ft6, ft7, \minimum
    .endif
    bnez groups, 1b
    ld a6, LOCAL0(sp)
    ld a7, LOCAL1(sp)
    accumulators fsw, \count
    restore
    .endm

    function swar_q4_two
    several 2, 0
    function swar_q4_four
    several 4, 0
    function swar_q4_eight
    several 8, 0
    function swar_q4m_two
    several 2, 1
    function swar_q4m_four
    several 4, 1
    function swar_q4m_eight
    several 8, 1

#endif
