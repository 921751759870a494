# SPDX-License-Identifier: Apache-2.0
"""Register work of the decode kernel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.bench.bare import BARE, CASES, bare_toolchain, compile_kernels
from tools.bench.kernels import count_program
from tools.bench.targets.row import Bench, Row


def rows(bench: Bench) -> Iterator[Row]:  # noqa: ARG001
    """Register work of the decode kernel."""
    with tempfile.TemporaryDirectory() as folder:
        elf = compile_kernels(Path(folder) / "rvv.elf", "rvv", bare_toolchain("rvv"), [*BARE, *CASES], [])
        for count in count_program(elf, "rvv", 256, registers=True):
            if (count.case.kernel, count.case.inputs, count.case.columns) == ("q4", 1, 576):
                yield Row("register work a weight, q4, 1 row, VLEN 256", count.registers / count.case.macs, 0.15)
