# SPDX-License-Identifier: Apache-2.0
"""Make ``gen/board.h`` and the linker script of a bare-metal firmware from a board's file."""

from __future__ import annotations

import re
from pathlib import Path

from host.boards import Block, Board, Region, Size

POWER = {"test": 0, "htif": 1, "sbi": 2, "none": 3}
UART_ENABLE = {"ns16550": 0, "xscale": 0x40}
"""Bits of IER that a driver keeps set: the XScale's unit enable."""
HANDOFF_BYTES = 64
"""At the end of the firmware's region, for what the applet tells it (firmware/flash/handoff.h)."""
APPLET_BYTES = 1 << 20
TEMPLATE = Path(__file__).resolve().parents[1] / "linker" / "firmware.ld.in"


def hart_count(board: Board, limit: int | None) -> int:
    """How many harts the firmware has room for. In S-mode any of the board's may be among them."""
    return min(limit or len(board.harts.ids), len(board.harts.ids))


def header(board: Board, kernels: str, limit: int | None = None) -> str:
    """The C header: every fact of the board that the firmware's port and drivers need."""
    harts = hart_count(board, limit)
    lines = [f"/* Made from boards/{board.name}.toml by tools/gen_board.py: do not edit. */"]
    lines += ["#ifndef BOARD_GENERATED_H", "#define BOARD_GENERATED_H", ""]
    lines += [f'#define BOARD_NAME "{board.name}"', f'#define BOARD_ISA "{board.isa[kernels]}"']
    lines += [f"#define BOARD_HARTS {harts}", f"#define BOARD_HARTS_DEFAULT {min(board.harts.default, harts)}u"]
    lines += [f"#define BOARD_COUNTERS {int(board.counters)}"]
    if board.hosted:
        lines += [f"#define BOARD_ARENA_SIZE {int(board.hosted.arena):#x}u"]
    if board.memory and board.uart and board.timer and board.entry:
        memory, uart, timer, entry = board.memory, board.uart, board.timer, board.entry
        lines += [f"#define BOARD_HART_IDS {', '.join(map(str, board.harts.ids))}"]
        lines += [f"#define BOARD_LINK_BASE {memory.firmware.base:#x}u"]
        lines += [f"#define BOARD_HANDOFF {memory.firmware.end - HANDOFF_BYTES:#x}u"]
        block = board.block or Block(0, 0, 0)
        lines += [f"#define BOARD_BLOCK_BASE {block.base:#x}u", f"#define BOARD_BLOCK_STRIDE {block.stride:#x}u"]
        lines += [f"#define BOARD_BLOCK_COUNT {block.count}u"]
        lines += [f"#define BOARD_STACK_BYTES {int(memory.stack):#x}"]
        lines += [
            f"#define BOARD_ARENA_BASE {memory.arena.base:#x}u",
            f"#define BOARD_ARENA_SIZE {memory.arena.size:#x}u",
        ]
        lines += [f"#define BOARD_IMAGE_BASE {memory.image:#x}u", f"#define BOARD_IMAGE_LIMIT {board.image_limit:#x}u"]
        lines += [f"#define BOARD_UART_BASE {uart.base:#x}u", f"#define BOARD_UART_SHIFT {uart.shift}u"]
        lines += [f"#define BOARD_UART_WIDTH {uart.width}", f"#define BOARD_UART_CLOCK {uart.clock}u"]
        lines += [f"#define BOARD_UART_ENABLE {UART_ENABLE[uart.driver]:#x}u"]
        lines += [f"#define BOARD_UART_BAUD {uart.baud}u", f"#define BOARD_TIMER_HZ {timer.hz}u"]
        lines += [f"#define BOARD_WATCHDOG_MS {timer.watchdog_ms}u"]
        lines += [f"#define BOARD_CLINT_BASE {timer.clint:#x}u", f"#define BOARD_S_MODE {int(entry.mode == 's')}"]
        lines += [f"#define BOARD_CLINT_MTIME {int(timer.mtime)}"]
        lines += [f"#define BOARD_POWER {POWER[entry.power]}", f"#define BOARD_POWER_BASE {entry.power_base:#x}u"]
        lines += ["", "/* Values of BOARD_POWER. */"]
        lines += [f"#define POWER_{name.upper()} {number}" for name, number in POWER.items()]
    return "\n".join([*lines, "", "#endif", ""])


def linker(board: Board, limit: int | None = None, part: str = "firmware") -> str:
    """The linker script of a part: the one template with the board's regions. ``@NAME@`` are its parameters.

    part: ``firmware``; ``shim``, the SBI between the start of DRAM and the firmware; ``applet``, which U-Boot runs
    before the firmware, where later the arena is.
    """
    assert board.memory
    dram, firmware = board.memory.dram, board.memory.firmware
    regions = {
        "firmware": Region(firmware.base, Size(firmware.size - HANDOFF_BYTES)),
        "shim": Region(dram.base, Size(firmware.base - dram.base)),
        "applet": Region(board.memory.arena.base, Size(APPLET_BYTES)),
    }
    stacks = 0 if part == "applet" else board.memory.stack * hart_count(board, limit)
    values = {
        "BOARD": board.name,
        "BASE": f"{regions[part].base:#x}",
        "SIZE": f"{int(regions[part].size):#x}",
        "STACKS": f"{stacks:#x}",
    }
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], TEMPLATE.read_text())
