/* SPDX-License-Identifier: Apache-2.0 */
/* M-mode below an S-mode payload, for tests on a simulator: reset, traps, the step to S-mode. */
#include "gen/board.h"

#define FRAME_BYTES 128
#define SHIM_HARTS  8

    .section .text.start, "ax"
    .globl _start
_start:
    csrw mie, zero
    csrci mstatus, 8
    csrr a0, mhartid
    li t0, SHIM_HARTS
    bgeu a0, t0, park
    /* A stack a hart, by its id; mscratch keeps its top for traps. */
    lla sp, stacks_start
    li t0, BOARD_STACK_BYTES / 2
    addi t1, a0, 1
    mul t0, t0, t1
    add sp, sp, t0
    csrw mscratch, sp
    lla t0, shim_trap_entry
    csrw mtvec, t0
    call shim_main
park:
    wfi
    j park

    .balign 4
    .type shim_trap_entry, @function
shim_trap_entry:
    csrrw sp, mscratch, sp
    addi sp, sp, -FRAME_BYTES
    sd a0, 0(sp)
    sd a1, 8(sp)
    sd a2, 16(sp)
    sd a3, 24(sp)
    sd a4, 32(sp)
    sd a5, 40(sp)
    sd a6, 48(sp)
    sd a7, 56(sp)
    sd ra, 64(sp)
    sd t0, 72(sp)
    sd t1, 80(sp)
    sd t2, 88(sp)
    sd t3, 96(sp)
    sd t4, 104(sp)
    sd t5, 112(sp)
    sd t6, 120(sp)
    mv a0, sp
    call shim_trap
    ld a0, 0(sp)
    ld a1, 8(sp)
    ld a2, 16(sp)
    ld a3, 24(sp)
    ld a4, 32(sp)
    ld a5, 40(sp)
    ld a6, 48(sp)
    ld a7, 56(sp)
    ld ra, 64(sp)
    ld t0, 72(sp)
    ld t1, 80(sp)
    ld t2, 88(sp)
    ld t3, 96(sp)
    ld t4, 104(sp)
    ld t5, 112(sp)
    ld t6, 120(sp)
    addi sp, sp, FRAME_BYTES
    csrrw sp, mscratch, sp
    mret
    .size shim_trap_entry, . - shim_trap_entry

/* void shim_enter_s(uint64_t a0, uint64_t a1, uint64_t entry): does not return. */
    .globl shim_enter_s
    .type shim_enter_s, @function
shim_enter_s:
    csrw mepc, a2
    csrw satp, zero
    csrw sie, zero
    /* MPP = S, FS and VS off as OpenSBI may leave them. */
    li t0, 0x7e00
    csrc mstatus, t0
    li t0, 0x1800
    csrc mstatus, t0
    li t0, 0x800
    csrs mstatus, t0
    mv sp, zero
    mv tp, zero
    mv gp, zero
    mret
    .size shim_enter_s, . - shim_enter_s
