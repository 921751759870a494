# SPDX-License-Identifier: Apache-2.0
"""The speed of this machine's memory, by read_loop.c: what no program that reads its weights can be faster than."""

from __future__ import annotations

import statistics
from pathlib import Path

from tools.bench.beside.costs import Pass
from tools.bench.llama import call
from tools.scons.toolchain import zig_path

SOURCE = Path(__file__).with_name("read_loop.c")
PASSES = 9


def build_read_loop(work: Path) -> Path:
    """Compile it for this very machine, with the widest loads that it has."""
    out = work / "read_loop"
    call(zig_path(), "cc", "-O3", "-march=native", SOURCE, "-pthread", "-o", out)
    return out


def parse_passes(text: str) -> Pass:
    """The medians of what the program prints; its first pass, which finds the caches cold, is not counted."""
    wall, cpu = zip(*(map(float, line.split()) for line in text.splitlines()[1:]), strict=True)
    return Pass(cpu=statistics.median(cpu), wall=statistics.median(wall))


def read_once(program: Path, count: int, threads: int) -> Pass:
    """Read ``count`` bytes by so many threads. Raises TargetError."""
    return parse_passes(call(program, count, threads, PASSES))
