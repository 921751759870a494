# SPDX-License-Identifier: Apache-2.0
"""What a target has, for tests that need something of it, and how slow the target is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from host.boards import board_names, load_board, parse_size
from host.errors import UsageError
from host.link.records import DeviceInfo
from host.targets.simulators import qemu_user_programs
from host.targets.spec import TargetSpec

SLOWNESS = {"process": 1, "qemu-user": 10, "qemu": 10, "spike": 60, "twin": 60}
"""How many times slower than this machine each kind of simulator is; limits of time are multiplied by this."""
LINE_SLOWNESS = 20


@dataclass(frozen=True)
class Abilities:
    """What a test may ask for by ``needs(...)``. dram: bytes, None where images are mapped from a file."""

    board: str
    rvv: bool
    vlen: int
    harts: int
    dram: int | None
    counters: bool
    simulator: bool
    hosted: bool
    """The firmware is a process, not bare metal."""

    def lacking(self, needs: Mapping[str, object]) -> str:
        """The first need that is not met, in words; empty where all are. Raises UsageError as read_needs()."""
        for name, wanted in read_needs(needs).items():
            have = getattr(self, name)
            met = have is None or have >= wanted if name in AT_LEAST else have == wanted
            if not met:
                return f"needs {name}={wanted}, {self.board} has {name}={have}"
        return ""


AT_LEAST: dict[str, Callable[[str], int]] = {"vlen": int, "harts": int, "dram": parse_size}


def read_needs(needs: Mapping[str, object]) -> dict[str, Any]:
    """What a test asks for, sizes in bytes. Raises UsageError for what no target can be asked for."""
    found: dict[str, Any] = {}
    for name, wanted in needs.items():
        if name not in Abilities.__dataclass_fields__:
            known = ", ".join(Abilities.__dataclass_fields__)
            raise UsageError(f"needs({name}=...): there is no such ability; there are {known}")
        kind = str if name == "board" else bool
        try:
            found[name] = AT_LEAST[name](str(wanted)) if name in AT_LEAST else wanted
        except ValueError as error:
            raise UsageError(f"needs({name}={wanted!r}): {error}") from None
        if name not in AT_LEAST and not isinstance(wanted, kind):
            raise UsageError(f"needs({name}={wanted!r}): it is a {kind.__name__}")
    return found


def spec_abilities(spec: TargetSpec) -> Abilities:
    """The abilities of a simulator, by its board's file."""
    board = load_board(spec.board)
    dram = board.memory.dram.size if board.memory else None
    return Abilities(
        spec.board, spec.kernels == "rvv", spec.vlen, spec.harts, dram, board.counters, True, board.hosted is not None
    )


def device_abilities(info: DeviceInfo) -> Abilities:
    """The abilities of a board that has said hello. Its board's file says its DRAM; an unknown board has its arena."""
    dram: int | None = info.arena_available
    hosted = False
    if info.board in board_names():
        board = load_board(info.board)
        dram, hosted = board.memory.dram.size if board.memory else None, board.hosted is not None
    return Abilities(info.board, info.kernels == "rvv", info.vlen, info.harts, dram, info.counters, False, hosted)


def lacking_before_start(spec: TargetSpec, needs: Mapping[str, object]) -> str:
    """The first need that a target does not meet, as far as is known before its hello; empty if there is none."""
    if not spec.is_line:
        return spec_abilities(spec).lacking(needs)
    return f"needs simulator=True, {spec.text} is none" if needs.get("simulator") else ""


def slowness(spec: TargetSpec) -> int:
    """How many times longer than this machine the target may take."""
    return LINE_SLOWNESS if spec.is_line else SLOWNESS[load_board(spec.board).simulator.kind]


def missing_program(spec: TargetSpec) -> str:
    """The program that the target needs and that is not installed; empty where everything is there."""
    if not spec.board:
        return ""
    board = load_board(spec.board)
    programs = {"qemu": ("qemu-system-riscv64",), "qemu-user": qemu_user_programs(board.machine)}
    names = programs.get(board.simulator.kind, ())
    return "" if not names or any(map(shutil.which, names)) else f"{names[0]} is not installed"
