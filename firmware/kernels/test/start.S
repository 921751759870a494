/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point and vectors on, a stack of 16 KiB a hart, and bare_main. A trap waits: Spike has no
 * test device. */
    .section .text.start, "ax"
    .globl _start
_start:
    la t0, halt
    csrw mtvec, t0
    li t0, 0x6600
    csrs mstatus, t0
    csrr a0, mhartid
    slli t0, a0, 14
    la sp, stack_top
    sub sp, sp, t0
    call bare_main
    .balign 4
halt:
    wfi
    j halt
