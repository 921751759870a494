# SPDX-License-Identifier: Apache-2.0
"""What was asked for on the command line, checked."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from host.boards import Board
from host.choices import choices
from host.errors import UsageError
from host.kernels import families
from host.words import shown
from tools.scons.settings import check_path, literal, read_switch

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Trust:
    """Whose images a firmware accepts: the key's 32 bytes, and the lowest version."""

    key: bytes
    lowest_version: int


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    board: Board
    kernels: str
    toolchain: str
    base: Path
    harts: int | None
    model: str
    trust: Trust | None
    faults: bool = False
    cache: str = ""

    @property
    def directory(self) -> Path:
        """``build/<board>``, with the kernel family where it is not the board's default."""
        suffix = "" if self.kernels == self.board.kernels else f"-{self.kernels}"
        return self.base / f"{self.board.name}{suffix}"

    def place(self, name: str | Path) -> str:
        """A file below ``directory``, as SCons takes it."""
        return literal(self.directory / name)


def make_options(board: Board, given: Mapping[str, str]) -> Options:
    """The checked options of one variant. Raises UsageError."""
    kernels = given["kernels"] or board.kernels
    if kernels not in families():
        raise UsageError(f"kernels={shown(kernels)} is not known; {choices(kernels, families())}")
    if given["kernels"] and board.chosen:
        words = "has all kernels that this machine may run in one program, which chooses at start-up"
        raise UsageError(f"board {board.name} {words}: leave kernels= out; --target {board.name}:{kernels} runs these")
    if kernels not in board.isa:
        raise UsageError(f"board {board.name} has no {families()[kernels].words}: kernels={kernels} is not for it")
    harts = None
    if given["harts"]:
        if not _is_number(given["harts"]) or not 1 <= int(given["harts"]) <= len(board.harts.ids):
            raise UsageError(f"harts={shown(given['harts'])}: board {board.name} has 1 to {len(board.harts.ids)}")
        harts = int(given["harts"])
    if milliseconds := given["watchdog"]:
        if not _is_number(milliseconds) or not board.timer:
            words = f"watchdog={shown(milliseconds)} is no number of milliseconds"
            raise UsageError(f"{words}, or {board.name} has no timer")
        board = replace(board, timer=replace(board.timer, watchdog_ms=int(milliseconds)))
    trust, base = make_trust(given), _base(given["build"])
    cache = given["cache"] or os.environ.get("HARTSPEAK_OBJECTS", "")
    for name, path in {"cache=": cache, "this checkout": str(ROOT), "the Python environment": sys.prefix}.items():
        check_path(name, path)
    faults = read_switch("faults", given["faults"])
    return Options(board, kernels, given["toolchain"], base, harts, given["model"], trust, faults, cache)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _base(text: str) -> Path:
    """build=, relative where it lies in the checkout, for then the checkout's own name does not matter."""
    check_path("build=", text, "%")  # zig reads %20 as a space in the name of its output
    base = Path(text or "build")
    with contextlib.suppress(ValueError):
        base = base.relative_to(ROOT)
    if base.exists() and not base.is_dir():
        raise UsageError(f"build={base} is no directory")
    return base


def make_trust(given: Mapping[str, str]) -> Trust | None:
    """key= and lowest_version=, checked; None without a key. Raises UsageError."""
    lowest = given["lowest_version"]
    if not lowest.isascii() or not lowest.isdigit() or int(lowest) >= 1 << 32:
        raise UsageError(f"lowest_version={shown(lowest)} is not a number from 0 to {(1 << 32) - 1}")
    if not given["key"]:
        if int(lowest):
            raise UsageError("lowest_version= needs key=: without a signature anybody can write any version")
        return None
    from host.trust.keys import load_public

    return Trust(load_public(Path(given["key"])), int(lowest))
