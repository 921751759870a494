# SPDX-License-Identifier: Apache-2.0
"""A broken line and a broken device: tools/soak.py and tools/hangs.py as rows of the table."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

from tools.assure.common import ROOT, Missing, Row, run

QEMU_HINT = "apt install qemu-system-misc"
SOAK_SAMPLE = ("--faults", "20000", "--sessions", "200", "--bursts", "60")
HANGS_SAMPLE = ("--count", "6")
FULL_SECONDS = 6 * 3600
SAMPLE_SECONDS = 900


def _json(tool: str, sample: tuple[str, ...], full: bool) -> Any:
    """What a tool prints with --json. Raises Failed, also where it missed a target."""
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--json", *(() if full else sample)]
    text = run(command, FULL_SECONDS if full else SAMPLE_SECONDS, log=tool)
    return json.loads(text.splitlines()[-1])


def soak_rows(full: bool) -> list[Row]:
    """One row for each target of the soak."""
    found = _json("soak", SOAK_SAMPLE, full)
    return [Row(f"soak: {what}", row["found"], row["target"], row["good"]) for what, row in found.items()]


def hang_rows(full: bool) -> list[Row]:
    """One row for each target and kind of failure."""
    if not shutil.which("qemu-system-riscv64"):
        raise Missing(f"qemu-system-riscv64 is not installed: {QEMU_HINT}")
    made = []
    for row in _json("hangs", HANGS_SAMPLE, full)["rows"]:
        words = f"{row['same']} of {row['count']} went on with the same tokens; s: p50 {row['p50']:.2f}"
        words += f", p99 {row['p99']:.2f}, most {row['most']:.2f}"
        good = row["same"] == row["count"] and (not row["late"] or row["failure"] == "DEAF")
        target = "all" if row["failure"] == "DEAF" else "all, <= 3 s each"
        made.append(Row(f"{row['failure']} of {row['target']}", words, target, good))
    return made
