# SPDX-License-Identifier: Apache-2.0
"""What a target has, for tests that need something of it, and how slow it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from host.boards import board_names, load_board, parse_size
from host.errors import UsageError
from host.link.records import DeviceInfo
from host.targets.spec import TargetSpec

SLOWNESS = {"process": 1, "qemu-user": 10, "qemu": 10, "spike": 60, "twin": 60}
"""Of a simulator, against this machine: what limits of time are multiplied with."""
LINE_SLOWNESS = 20
PROGRAMS = {
    "qemu": ("qemu-system-riscv64",),
    "qemu-user": ("qemu-riscv64", "qemu-riscv64-static"),
}


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
        """The first need that is not met, in words; empty where all are. Raises UsageError for an unknown one."""
        for name, wanted in needs.items():
            if name not in Abilities.__dataclass_fields__:
                known = ", ".join(Abilities.__dataclass_fields__)
                raise UsageError(f"needs({name}=...): there is no such ability; there are {known}")
            have = getattr(self, name)
            if name == "dram":
                wanted = parse_size(str(wanted))
                met = have is None or have >= wanted
            elif name in ("vlen", "harts"):
                met = have >= int(str(wanted))
            else:
                met = have == wanted
            if not met:
                return f"needs {name}={wanted}, {self.board} has {name}={have}"
        return ""


def spec_abilities(spec: TargetSpec) -> Abilities:
    """Of a simulator, from its board's file."""
    board = load_board(spec.board)
    dram = board.memory.dram.size if board.memory else None
    return Abilities(
        spec.board, spec.kernels == "rvv", spec.vlen, spec.harts, dram, board.counters, True, board.hosted is not None
    )


def device_abilities(info: DeviceInfo) -> Abilities:
    """Of a board that has said hello. What its DRAM is stands in its board's file; unknown boards have their arena."""
    dram: int | None = info.arena_available
    hosted = False
    if info.board in board_names():
        board = load_board(info.board)
        dram, hosted = board.memory.dram.size if board.memory else None, board.hosted is not None
    return Abilities(info.board, info.kernels == "rvv", info.vlen, info.harts, dram, info.counters, False, hosted)


def slowness(spec: TargetSpec) -> int:
    """How many times longer than this machine the target may take."""
    return LINE_SLOWNESS if spec.is_line else SLOWNESS[load_board(spec.board).simulator.kind]


def missing_program(spec: TargetSpec) -> str:
    """What has to be installed for the target and is not; empty where all is there."""
    programs = PROGRAMS.get(load_board(spec.board).simulator.kind, ()) if spec.board else ()
    return "" if not programs or any(map(shutil.which, programs)) else f"{programs[0]} is not installed"
