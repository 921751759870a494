/* SPDX-License-Identifier: Apache-2.0 */
/* Reset to bare_main(), for M-mode and for S-mode under SBI.
 *
 * tp holds the hart's number in the pool (0 is the boot hart) for ever. A hart has
 * BOARD_STACK_BYTES: its trap stack, the guard, its stack (port/bare.h). */
#include "port/bare.h"

#if BOARD_S_MODE
#define xstatus  sstatus
#define xtvec    stvec
#define xscratch sscratch
#define xcause   scause
#define xepc     sepc
#define xtval    stval
#define xie      sie
#define xret     sret
#else
#define xstatus  mstatus
#define xtvec    mtvec
#define xscratch mscratch
#define xcause   mcause
#define xepc     mepc
#define xtval    mtval
#define xie      mie
#define xret     mret
#endif

#define STATUS_FS_INITIAL 0x2000
#define STATUS_VS_INITIAL 0x200
#define STATUS_SIE_MIE    0xa
#define FRAME_BYTES       128

#define PMP_LOCKED_NAPOT  0x98 /* no access, for M-mode too */

#if BOARD_STACK_BYTES % STACK_GUARD_BYTES || BOARD_STACK_BYTES < 3 * STACK_GUARD_BYTES
#error "memory.stack of the board: a multiple of 4 KiB, 12 KiB or more"
#endif

#define FENCE_I           0x0000100f /* GCC and clang know the name only with Zifencei in the ISA */

#define SBI_PUTCHAR       1
#define SBI_SHUTDOWN      8

    .section .text.start, "ax"
    .globl _start
_start:
#if BOARD_S_MODE
    /* The RISC-V Image header, so that U-Boot's booti takes the file as well as go does. */
    .option push
    .option norvc
    /* U-Boot's go does not do it, and its own code once lay where this lies now. */
    .word FENCE_I
    j enter
    .option pop
    .dword 0x200000                 /* text_offset */
    .dword firmware_end - _start    /* image_size */
    .dword 0                        /* flags: little-endian */
    .word 2                         /* header version 0.2 */
    .word 0
    .dword 0
    .ascii "RISCV\0\0\0"
    .ascii "RSC\x05"
    .word 0
#endif

enter:
    csrw xie, zero
    csrci xstatus, STATUS_SIE_MIE
#if BOARD_S_MODE
    /* The code is linked for one address; booti may have put it somewhere else. */
    ld t0, link_address
    lla t1, _start
    bne t0, t1, misplaced
    li tp, 0
#else
    /* The place of this hart's id in the board's list is its number; others stay out. */
    csrr a0, mhartid
    lla t0, hart_ids
    li tp, 0
1:  lw t1, 0(t0)
    beq t1, a0, 2f
    addi t0, t0, 4
    addi tp, tp, 1
    li t2, BOARD_HARTS
    bne tp, t2, 1b
park:
    wfi
    j park
2:
    bnez tp, await_release
#endif
    lla t0, bss_start
    lla t1, bss_end
3:  sd zero, 0(t0)
    addi t0, t0, 8
    bltu t0, t1, 3b
    jal setup_hart
    call bare_main
    j .

#if BOARD_S_MODE
/* Where SBI starts the other harts: a0 is the hart's id, a1 its number in the pool. */
    .globl bare_hart_entry
bare_hart_entry:
    csrw xie, zero
    mv tp, a1
#else
/* bare_main() opens the gate once it has cleared what the others will use. */
await_release:
    lla t0, bare_gate
4:  lw t1, 0(t0)
    beqz t1, 4b
    fence rw, rw
#endif
    jal setup_hart
    mv a0, tp
    call bare_hart_main
    j .

/* Painted stack, guard, trap vector, FPU and vector unit of the hart in tp; keeps a0 and a1. */
setup_hart:
    .word FENCE_I
    lla t2, stacks_start
    li t0, BOARD_STACK_BYTES
    mul t1, t0, tp
    add t2, t2, t1
    add sp, t2, t0
    li t1, STACK_PAINT
    mv t3, t2
9:  sd t1, 0(t3)
    addi t3, t3, 8
    bltu t3, sp, 9b
    li t0, STACK_GUARD_BYTES
    add t2, t2, t0
    csrw xscratch, t2
#if !BOARD_S_MODE
    /* A core without PMP traps here, and goes on without a guard. */
    lla t1, 10f
    csrw xtvec, t1
    srli t2, t2, 2
    ori t2, t2, (STACK_GUARD_BYTES >> 3) - 1
    csrw pmpaddr0, t2
    li t1, PMP_LOCKED_NAPOT
    csrw pmpcfg0, t1
    .balign 4
10:
#endif
    lla t1, trap_entry
    csrw xtvec, t1
    li t1, STATUS_FS_INITIAL + STATUS_VS_INITIAL * KERNELS_RVV
    csrs xstatus, t1
    csrw fcsr, zero
    ret

    .balign 4
    .type trap_entry, @function
trap_entry:
    csrrw sp, xscratch, sp
    addi sp, sp, -FRAME_BYTES
    sd a0, 0(sp)
    csrr a0, xcause
    bltz a0, interrupt
    csrr a1, xepc
    csrr a2, xtval
    mv a3, tp
    csrr a4, xscratch
    call bare_trap
    j .

/* Only the tick of hart 0 is ever enabled. bare_tick() uses neither floats nor vectors. */
interrupt:
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
    call bare_tick
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
    csrrw sp, xscratch, sp
    xret
    .size trap_entry, . - trap_entry

/* int bare_probe(void (*try)(void)): 1 where try() ran to its end, 0 where it trapped. */
    .globl bare_probe
    .type bare_probe, @function
bare_probe:
    addi sp, sp, -32
    sd ra, 0(sp)
    sd s0, 8(sp)
    sd s1, 16(sp)
    mv s1, sp
    lla t0, 5f
    csrrw s0, xtvec, t0
    jalr a0
    li a0, 1
    j 6f
    .balign 4
5:  mv sp, s1
    li a0, 0
6:  csrw xtvec, s0
    ld s1, 16(sp)
    ld s0, 8(sp)
    ld ra, 0(sp)
    addi sp, sp, 32
    ret
    .size bare_probe, . - bare_probe

#if BOARD_S_MODE
misplaced:
    lla s0, misplaced_text
7:  lbu a0, 0(s0)
    beqz a0, 8f
    li a7, SBI_PUTCHAR
    ecall
    addi s0, s0, 1
    j 7b
8:  li a7, SBI_SHUTDOWN
    ecall
    j .

    .balign 8
link_address:
    .dword _start
misplaced_text:
    .asciz "firmware: not loaded at the address that it was built for (see boards/*.toml)\r\n"
#else
    .balign 4
hart_ids:
    .word BOARD_HART_IDS
#endif
