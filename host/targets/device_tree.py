# SPDX-License-Identifier: Apache-2.0
"""Device trees for Spike, which builds its machine from one: our own, so that dtc is not needed."""

from __future__ import annotations

import fdt

from host.boards import Board

CLINT, CLINT_SIZE = 0x02000000, 0x000C0000
PLIC, PLIC_SIZE = 0x0C000000, 0x01000000
IRQ_M_SOFT, IRQ_M_TIMER, IRQ_M_EXT, IRQ_S_EXT = 3, 7, 11, 9
UART_IRQ = 1
PLIC_PHANDLE = 100


def _pair(value: int) -> tuple[int, int]:
    return value >> 32, value & 0xFFFFFFFF


def _cpu(hart: int, isa: str, hz: int) -> fdt.Node:
    cpu = fdt.Node(f"cpu@{hart:x}")
    cpu.append(fdt.PropStrings("device_type", "cpu"))
    cpu.append(fdt.PropWords("reg", hart))
    cpu.append(fdt.PropStrings("status", "okay"))
    cpu.append(fdt.PropStrings("compatible", "riscv"))
    cpu.append(fdt.PropStrings("riscv,isa", isa))
    cpu.append(fdt.PropStrings("mmu-type", "riscv,sv39"))
    cpu.append(fdt.PropWords("riscv,pmpregions", 16))
    cpu.append(fdt.PropWords("riscv,pmpgranularity", 4))
    cpu.append(fdt.PropWords("clock-frequency", hz))
    interrupts = fdt.Node("interrupt-controller")
    interrupts.append(fdt.PropWords("#address-cells", 2))
    interrupts.append(fdt.PropWords("#interrupt-cells", 1))
    interrupts.append(fdt.Property("interrupt-controller"))
    interrupts.append(fdt.PropStrings("compatible", "riscv,cpu-intc"))
    interrupts.append(fdt.PropWords("phandle", hart + 1))
    cpu.append(interrupts)
    return cpu


def _device(name: str, compatible: list[str], base: int, size: int) -> fdt.Node:
    node = fdt.Node(f"{name}@{base:x}")
    node.append(fdt.PropStrings("compatible", *compatible))
    node.append(fdt.PropWords("reg", *_pair(base), *_pair(size)))
    return node


def _soc(board: Board, harts: list[int]) -> fdt.Node:
    assert board.uart
    soc = fdt.Node("soc")
    soc.append(fdt.PropWords("#address-cells", 2))
    soc.append(fdt.PropWords("#size-cells", 2))
    soc.append(fdt.PropStrings("compatible", "simple-bus"))
    soc.append(fdt.Property("ranges"))
    clint = _device("clint", ["riscv,clint0", "sifive,clint0"], CLINT, CLINT_SIZE)
    lines = [word for hart in harts for word in (hart + 1, IRQ_M_SOFT, hart + 1, IRQ_M_TIMER)]
    clint.append(fdt.PropWords("interrupts-extended", *lines))
    plic = _device("plic", ["riscv,plic0", "sifive,plic-1.0.0"], PLIC, PLIC_SIZE)
    lines = [word for hart in harts for word in (hart + 1, IRQ_M_EXT, hart + 1, IRQ_S_EXT)]
    plic.append(fdt.PropWords("interrupts-extended", *lines))
    plic.append(fdt.PropWords("#address-cells", 0))
    plic.append(fdt.PropWords("#interrupt-cells", 1))
    plic.append(fdt.PropWords("riscv,ndev", 31))
    plic.append(fdt.PropWords("riscv,max-priority", 15))
    plic.append(fdt.Property("interrupt-controller"))
    plic.append(fdt.PropWords("phandle", PLIC_PHANDLE))
    uart = _device("ns16550", ["ns16550a"], board.uart.base, 0x100 << board.uart.shift)
    uart.append(fdt.PropWords("clock-frequency", board.uart.clock))
    uart.append(fdt.PropWords("interrupt-parent", PLIC_PHANDLE))
    uart.append(fdt.PropWords("interrupts", UART_IRQ))
    uart.append(fdt.PropWords("reg-shift", board.uart.shift))
    uart.append(fdt.PropWords("reg-io-width", board.uart.width))
    for node in (clint, plic, uart):
        soc.append(node)
    return soc


def spike_tree(board: Board, harts: list[int], isa: str, memory_bytes: int) -> bytes:
    """The flattened tree of the board's machine with these hart ids and so much memory."""
    assert board.memory
    assert board.timer
    tree = fdt.FDT()
    tree.header.version = 17
    tree.header.last_comp_version = 16
    tree.header.boot_cpuid_phys = harts[0]
    tree.add_item(fdt.PropWords("#address-cells", 2))
    tree.add_item(fdt.PropWords("#size-cells", 2))
    tree.add_item(fdt.PropStrings("compatible", "ucbbar,spike-bare-dev"))
    tree.add_item(fdt.PropStrings("model", f"{board.name} on Spike"))
    cpus = fdt.Node("cpus")
    cpus.append(fdt.PropWords("#address-cells", 1))
    cpus.append(fdt.PropWords("#size-cells", 0))
    cpus.append(fdt.PropWords("timebase-frequency", board.timer.hz))
    for hart in harts:
        cpus.append(_cpu(hart, isa, board.timer.hz * 100))
    tree.add_item(cpus)
    memory = fdt.Node(f"memory@{board.memory.dram.base:x}")
    memory.append(fdt.PropStrings("device_type", "memory"))
    memory.append(fdt.PropWords("reg", *_pair(board.memory.dram.base), *_pair(memory_bytes)))
    tree.add_item(memory)
    tree.add_item(_soc(board, harts))
    htif = fdt.Node("htif")
    htif.append(fdt.PropStrings("compatible", "ucb,htif0"))
    tree.add_item(htif)
    flat: bytes = tree.to_dtb()
    return flat
