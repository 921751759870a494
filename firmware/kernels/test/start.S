/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point and vectors on, a stack, and the tests. A trap waits: Spike has no test device. */
    .section .text.start, "ax"
    .globl _start
_start:
    la t0, halt
    csrw mtvec, t0
    li t0, 0x6600
    csrs mstatus, t0
    la sp, stack_top
    call test_main
    .balign 4
halt:
    wfi
    j halt
