# SPDX-License-Identifier: Apache-2.0
"""Boards as data: reads and checks ``boards/<name>.toml`` for the build and for the host.

A file is checked against the dataclasses below, so an unknown, missing or mistyped key is an error that names the file
and the key. Sizes are integers or text such as ``"8 MiB"``; addresses are integers.
"""

from __future__ import annotations

import dataclasses
import itertools
import platform
import re
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host.choices import choices
from host.errors import UsageError
from host.kernels import Family, families, families_of, machine_name
from host.places import TREE
from host.words import shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOARDS = TREE / "boards"
TEMPLATE = "template"
"""A file to copy, no board: it can be built, and is on no list."""
PAGE = 4096
ISA_MACHINES = {"armv8-a": "aarch64"}
"""Machines whose families one program has, by the ISA that it is compiled for; all others are RISC-V."""
SIMULATORS = ("spike", "qemu", "u-boot", "twin", "qemu-user", "process", "none")
UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
UNITS |= {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


class Size(int):
    """A number of bytes, written as an integer or as text with a unit (``"64 KiB"``)."""


@dataclass(frozen=True)
class Region:
    """Addresses ``base`` to ``base + size``, bytes."""

    base: int
    size: Size

    @property
    def end(self) -> int:
        """First address behind the region."""
        return self.base + self.size


@dataclass(frozen=True)
class Memory:
    """Where things lie in a bare-metal board's DRAM; the model image reaches from ``image`` to the end of it."""

    dram: Region
    firmware: Region
    arena: Region
    image: int
    stack: Size


@dataclass(frozen=True)
class Hosted:
    """Memory of a board whose firmware is a process: the arena by default; images of any size are mapped."""

    arena: Size


@dataclass(frozen=True)
class Harts:
    """Hart ids that may run the firmware, and how many a simulator gets when nothing is said."""

    ids: list[int]
    default: int


@dataclass(frozen=True)
class Uart:
    """Console UART: registers at ``base + (n << shift)``, accessed ``width`` bytes wide; clock 0 keeps the divisor."""

    driver: str
    base: int
    shift: int
    width: int
    clock: int
    baud: int


@dataclass(frozen=True)
class Timer:
    """Time base in Hz; ``clint`` is the base of the CLINT that M-mode firmware uses, 0 where SBI does it."""

    hz: int
    clint: int = 0
    mtime: bool = True
    """Whether the CLINT shows the time; T-Head's does not."""
    watchdog_ms: int = 10_000
    """What may pass on this time base without a look at the line before the firmware restarts: the longest op."""


@dataclass(frozen=True)
class Block:
    """Where block devices behind virtio-mmio may be: at ``base``, ``base + stride``, ... ``count`` of them."""

    base: int
    stride: int
    count: int


@dataclass(frozen=True)
class Entry:
    """Privilege mode in which the firmware starts (``m`` or ``s``) and how it ends (a key of gen_board.POWER)."""

    mode: str
    power: str
    power_base: int = 0


@dataclass(frozen=True)
class Simulator:
    """What runs the firmware here: one of SIMULATORS; ``none`` where nothing does."""

    kind: str
    isa: str = ""
    """Spike's --isa for a firmware without V."""


@dataclass(frozen=True)
class Roofline:
    """What bounds the board's speed: bytes read, and multiply-accumulates of one hart; each with its source."""

    read_mb_s: int
    """10^6 bytes a second from DRAM."""
    hart_mmac_s: int
    """10^6 multiply-accumulates a second and hart."""


@dataclass(frozen=True)
class Flash:
    """How the firmware and an image get onto the board, for people."""

    how: str


@dataclass(frozen=True)
class Board:
    """One board; ``name`` is its file's stem."""

    name: str
    title: str
    soc: str
    tested: list[str]
    port: str
    kernels: str
    isa: dict[str, str]
    """Kernel family to the ISA that the firmware is compiled for; ``native``: this machine's."""
    harts: Harts
    flash: Flash
    simulator: Simulator
    untried: bool = False
    """Whether it never ran on the real thing."""
    tune: str = ""
    vlen: int = 0
    """Bits of a vector register; 0 without V. On simulators the default."""
    counters: bool = True
    """Whether instret and cycle count instructions and cycles, as they do not in QEMU without -icount."""
    memory: Memory | None = None
    hosted: Hosted | None = None
    uart: Uart | None = None
    timer: Timer | None = None
    entry: Entry | None = None
    block: Block | None = None
    """The medium as the firmware sees it, where it has a driver: to confirm a slot itself."""
    loader: str = ""
    """``u-boot`` where that loads firmware and image; the build then makes its scripts, a FIT and a disk image."""
    roofline: Roofline | None = None
    """For `host bench`; simulators have none."""
    file: Path = field(default=Path(), compare=False)

    @property
    def arena_bytes(self) -> int:
        """Bytes of the board's arena."""
        if self.memory:
            return self.memory.arena.size
        assert self.hosted
        return self.hosted.arena

    @property
    def image_limit(self) -> int | None:
        """Bytes there are for a model image; None where an image is mapped from a file and only the machine limits."""
        return self.memory.dram.end - self.memory.image if self.memory else None

    @property
    def machine(self) -> str:
        """The machine that the firmware is a program of, as Linux names it."""
        isa = self.isa[self.kernels]
        return machine_name(platform.machine()) if isa == "native" else ISA_MACHINES.get(isa, "riscv64")

    @property
    def chosen(self) -> list[Family]:
        """The families among which its one firmware chooses at start-up, the best first; none where the build does."""
        return families_of(self.machine) if self.machine != "riscv64" else []

    @property
    def kernel_names(self) -> list[str]:
        """The families that can run on it."""
        return [one.name for one in self.chosen] or list(self.isa)

    def layout(self, kernels: str = "") -> str:
        """The weights' layout that suits the kernels: ``rvv`` or ``swar``.

        This machine has vectors too: the compiler makes them from the scalar kernels for ``rvv``.
        """
        return "rvv" if self.chosen else families()[kernels or self.kernels].layout


def parse_size(text: str | int) -> int:
    """Bytes from ``"256 MiB"``, ``"256M"`` or a number. Raises ValueError."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(0x[0-9a-fA-F]+|\d+)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in UNITS:
        raise ValueError(f"{text!r} is not a size such as 4096, 64 KiB or 2 GiB")
    return int(match[1], 0) * UNITS[match[2].upper()]


def _convert(kind: Any, value: Any, where: str) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise UsageError(f"{where}: expected a table")
        return _build(typing.cast(type, kind), value, where)
    if kind is Size:
        try:
            return Size(parse_size(value))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{where}: {error}") from None
    origin = typing.get_origin(kind)
    if origin is list and isinstance(value, list):
        return [_convert(typing.get_args(kind)[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _convert(typing.get_args(kind)[1], item, f"{where}.{key}") for key, item in value.items()}
    if not isinstance(kind, type) or type(value) is not kind:
        name = kind.__name__ if isinstance(kind, type) and not origin else str(kind)
        raise UsageError(f"{where}: expected {name}, found {type(value).__name__} {value!r}")
    return value


def _build(cls: type, table: dict[str, Any], where: str, **given: Any) -> Any:
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.name not in given}
    for key in table:
        if key not in fields:
            raise UsageError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(fields))}")
    values = dict(given)
    for name, entry in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], f"{where}: {name}" if given else f"{where}.{name}")
        elif entry.default is dataclasses.MISSING:
            raise UsageError(f"{where}: key {name!r} is missing")
    return cls(**values)


def _check_memory(board: Board, memory: Memory) -> None:
    where = board.file
    image = Region(memory.image, Size(max(0, memory.dram.end - memory.image)))
    regions = [("firmware", memory.firmware), ("arena", memory.arena), ("image", image)]
    for name, region in regions:
        if region.base % PAGE or region.size <= 0:
            raise UsageError(f"{where}: memory.{name} is empty or not aligned to {PAGE} bytes")
        if region.base < memory.dram.base or region.end > memory.dram.end:
            raise UsageError(f"{where}: memory.{name} ({region.base:#x}-{region.end:#x}) lies outside memory.dram")
    for (name, first), (other, second) in itertools.pairwise(regions):
        if first.end > second.base:
            raise UsageError(f"{where}: memory.{name} reaches into memory.{other}")


def _check(board: Board) -> None:
    where = board.file
    one_of = {
        "port": (board.port, ("bare", "hosted")),
        "kernels": (board.kernels, tuple(board.isa)),
        "loader": (board.loader, ("", "u-boot")),
        "simulator.kind": (board.simulator.kind, SIMULATORS),
    }
    if board.entry:
        one_of["entry.mode"] = (board.entry.mode, ("m", "s"))
        one_of["entry.power"] = (board.entry.power, ("test", "htif", "sbi", "none"))
    if board.uart:
        one_of["uart.driver"] = (board.uart.driver, ("ns16550", "xscale"))
        one_of["uart.width"] = (str(board.uart.width), ("1", "4"))
    for key, (value, allowed) in one_of.items():
        if value not in allowed:
            raise UsageError(f"{where}: {key} is {value!r}; allowed are {', '.join(allowed)}")
    if unknown := set(board.isa) - set(families()):
        raise UsageError(f"{where}: isa.{unknown.pop()} is no kernel family; known are {', '.join(families())}")
    if not board.harts.ids or not 1 <= board.harts.default <= len(board.harts.ids) <= 16:
        raise UsageError(f"{where}: harts.ids needs 1 to 16 ids and harts.default as many at most")
    needed = ("memory", "uart", "timer", "entry") if board.port == "bare" else ("hosted",)
    for key in needed:
        if getattr(board, key) is None:
            raise UsageError(f"{where}: key {key!r} is missing, which port {board.port!r} needs")
    if board.memory:
        _check_memory(board, board.memory)


def _read_table(path: Path) -> dict[str, Any]:
    """The file's keys over those of the board that it is ``like``."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    like = table.pop("like", None)
    if like is None:
        return table
    other = BOARDS / f"{like}.toml"
    if not isinstance(like, str) or other == path or not other.is_file():
        raise UsageError(f"{path}: like is {like!r}, which is no other board; known are {', '.join(board_names())}")
    return _read_table(other) | table


def read_board(path: Path, dram: int | None = None) -> Board:
    """The checked board in ``path``; ``dram`` replaces the DRAM size in bytes. Raises UsageError."""
    table = _read_table(path)
    board: Board = _build(Board, table, str(path), name=path.stem, file=path)
    if dram is not None:
        if board.memory is None:
            raise UsageError(f"board {board.name} has no DRAM of its own: dram= is for bare-metal boards")
        region = dataclasses.replace(board.memory.dram, size=Size(dram))
        board = dataclasses.replace(board, memory=dataclasses.replace(board.memory, dram=region))
    _check(board)
    return board


def board_names() -> list[str]:
    """Names of all boards, sorted; the file to copy is none."""
    return sorted(path.stem for path in BOARDS.glob("*.toml") if path.stem != TEMPLATE)


def load_board(name: str, dram: int | None = None) -> Board:
    """The board of that name. Raises UsageError for an unknown name or a faulty file."""
    path = BOARDS / f"{name}.toml"
    if not re.fullmatch(r"[a-z0-9-]+", name) or not path.is_file():
        raise UsageError(f"there is no board {shown(name)!r}; {choices(name, board_names())} (boards/*.toml)")
    return read_board(path, dram)
