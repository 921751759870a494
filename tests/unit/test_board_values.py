# SPDX-License-Identifier: Apache-2.0
"""The boards' files against the device trees of Linux (arch/riscv/boot/dts) and what else is published of them.

The numbers are typed from those files anew, not taken from the boards', so that a slip in either is seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from host.boards import BOARDS, TEMPLATE, Board, board_names, load_board
from tests.support.native import ROOT
from tools.gen_board import UART_ENABLE, header, linker

ALL = [load_board(name) for name in (*board_names(), TEMPLATE)]
BARE = [board for board in ALL if board.memory]


@dataclass(frozen=True)
class Published:
    """Values of a SoC and its board, and where they stand."""

    source: str
    harts: list[int]
    isa: str
    timebase: int
    dram: tuple[int, int] | None
    uart: tuple[int, int, int]
    """Base, reg-shift, reg-io-width."""
    compatible: str
    clock: int | None = None
    clint: int = 0
    extra: str = "zicsr"


PUBLISHED = {
    "visionfive2": Published(
        "starfive/jh7110.dtsi, jh7110-common.dtsi; uart0's clock is the 24 MHz oscillator",
        harts=[1, 2, 3, 4],
        isa="imafdc zba zbb",
        timebase=4000000,
        dram=(0x40000000, 2 << 30),
        uart=(0x10000000, 2, 4),
        compatible="snps,dw-apb-uart",
        clock=24000000,
    ),
    "bpi-f3": Published(
        "spacemit/k1.dtsi, k1-bananapi-f3.dts; U-Boot include/configs/k1.h for the UART's clock and UUE",
        harts=[0, 1, 2, 3, 4, 5, 6, 7],
        isa="imafdcv zicbom zicbop zicboz zicond zfh zba zbb zbc zbs zvfh",
        timebase=24000000,
        dram=(0, 2 << 30),
        uart=(0xD4017000, 2, 4),
        compatible="intel,xscale-uart",
        clock=14700000,
    ),
    "k230": Published(
        "canaan/k230.dtsi, k230-canmv.dts; U-Boot arch/riscv/dts/k230.dtsi for the UART's clock",
        harts=[0],
        isa="imafdcv zicbom zicbop zicboz zfh zba zbb zbc zbs zvfh",
        timebase=27000000,
        dram=(0, 0x20000000),
        uart=(0x91400000, 2, 4),
        compatible="snps,dw-apb-uart",
        clock=50000000,
        clint=0xF04000000,
    ),
    "milkv-duos": Published(
        "sophgo/sg2000.dtsi, cv180x.dtsi, cv180x-cpus.dtsi",
        harts=[0],
        isa="imafdc",
        timebase=25000000,
        dram=(0x80000000, 0x20000000),
        uart=(0x04140000, 2, 4),
        compatible="snps,dw-apb-uart",
    ),
    "lichee-pi-4a": Published(
        "thead/th1520.dtsi, th1520-lichee-module-4a.dtsi; U-Boot clk-th1520-ap.c for the UART's clock",
        harts=[0, 1, 2, 3],
        isa="imafdc",
        timebase=3000000,
        dram=(0, 0x200000000),
        uart=(0xFFE7014000, 2, 4),
        compatible="snps,dw-apb-uart",
        clock=100000000,
    ),
    "p550": Published(
        "eswin/eic7700.dtsi, eic7700-hifive-premier-p550.dts (no memory node)",
        harts=[0, 1, 2, 3],
        isa="imafdch zba zbb",
        timebase=1000000,
        dram=None,
        uart=(0x50900000, 2, 4),
        compatible="snps,dw-apb-uart",
        clock=200000000,
    ),
}
DRIVERS = {"snps,dw-apb-uart": "ns16550", "intel,xscale-uart": "xscale"}


def extensions(isa: str) -> set[str]:
    """Single letters and names of an ISA string or of a device tree's list."""
    first, *rest = isa.removeprefix("rv64").replace("g", "imafd").replace("_", " ").split()
    return set(first) | set(rest)


@pytest.mark.parametrize("name", PUBLISHED)
def test_values_are_those_that_are_published(name: str) -> None:
    board, known = load_board(name), PUBLISHED[name]
    assert board.memory is not None
    assert board.uart is not None
    assert board.timer is not None
    assert board.harts.ids == known.harts
    assert (board.uart.base, board.uart.shift, board.uart.width) == known.uart
    assert board.uart.driver == DRIVERS[known.compatible]
    assert board.uart.clock in (0, known.clock)
    assert board.timer.hz == known.timebase
    assert board.timer.clint == known.clint
    for isa in board.isa.values():
        assert extensions(isa) <= extensions(known.isa)
    assert ("v" in extensions(known.isa)) == ("rvv" in board.isa) == bool(board.vlen)
    if known.dram:
        base, size = known.dram
        assert board.memory.dram.base == base
        assert board.memory.dram.size <= size
    assert known.source


def test_what_is_compared_is_there() -> None:
    """A board of one's own is one file; what its maker has published may come here later, or not at all."""
    assert set(PUBLISHED) <= {board.name for board in BARE}


@pytest.mark.parametrize("board", BARE, ids=lambda board: board.name)
def test_baud_rate_can_be_made_of_the_clock(board: Board) -> None:
    assert board.uart
    if board.uart.clock and board.simulator.kind not in ("spike", "qemu"):
        divisor = (board.uart.clock + 8 * board.uart.baud) // (16 * board.uart.baud)
        assert abs(board.uart.clock / (16 * divisor) / board.uart.baud - 1) < 0.02


@pytest.mark.parametrize("board", BARE, ids=lambda board: board.name)
def test_s_mode_is_linked_where_booti_puts_it(board: Board) -> None:
    assert board.memory is not None
    assert board.entry is not None
    assert board.timer is not None
    if board.entry.mode == "s":
        assert board.memory.firmware.base == board.memory.dram.base + 0x200000
        assert board.entry.power == "sbi"
    else:
        assert board.timer.clint
    if board.simulator.kind == "twin":
        assert board.memory.dram.base >= 0x1000_0000
    assert f"ORIGIN = {board.memory.firmware.base:#x}" in linker(board)


@pytest.mark.parametrize("board", [b for b in ALL if b.flash.how], ids=lambda board: board.name)
def test_the_words_for_people_name_the_board_files_addresses(board: Board) -> None:
    if board.memory is None or board.name == TEMPLATE:
        return
    named = {int(word, 16) for word in re.findall(r"(?:0x|(?:go|metal 1) (?!0x))([0-9a-f]{6,})", board.flash.how)}
    assert named <= {board.memory.firmware.base, board.memory.image}


def test_xscale_keeps_its_unit_enabled() -> None:
    assert "#define BOARD_UART_ENABLE 0x40u\n" in header(load_board("bpi-f3"), "rvv")
    assert UART_ENABLE["ns16550"] == 0


def table_rows(text: str) -> dict[str, str]:
    """Rows of the README's table of boards, by name."""
    return {match[1]: match[0] for match in re.finditer(r"^\| `([a-z0-9-]+)` \|.*$", text, re.MULTILINE)}


def test_readme_tells_which_boards_never_ran() -> None:
    rows = table_rows((ROOT / "README.md").read_text())
    boards = {board.name: board for board in ALL}
    assert len(rows) > 5
    for name, row in rows.items():
        assert ("Never yet on the board itself" in row) == boards[name].untried


def test_template_names_every_table_and_says_where_values_come_from() -> None:
    text = (BOARDS / "template.toml").read_text()
    for key in ("dram", "firmware", "arena", "image", "driver", "shift", "clock", "hz", "clint", "mode", "vlen"):
        assert re.search(rf"^(# )?{key} =", text, re.MULTILINE), key
    assert text.count("device tree:") >= 5


def test_a_board_may_be_like_another() -> None:
    board = load_board("linux-rvv")
    other = load_board("linux")
    assert (board.kernels, other.kernels) == ("rvv", "scalar")
    assert (board.isa, board.harts, board.hosted) == (other.isa, other.harts, other.hosted)
