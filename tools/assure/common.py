# SPDX-License-Identifier: Apache-2.0
"""What the parts share: places, tools, running a program, a row of the table."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("HARTSPEAK_BUILD", "build")).resolve()
WORK = BUILD / "assure"
GENERATED = BUILD / "native"
"""Has the generated headers: ``scons board=native`` makes them."""

CLANG_HINT = "apt install clang-19 llvm-19 libclang-rt-19-dev (Debian 12; any clang from 18 on has what is needed)"
FRAMA_HINT = "apt install frama-c-base why3 z3 cvc4, then `why3 config detect`"


@dataclass(frozen=True)
class Row:
    """One line of the table. ``good`` is None where the part was skipped; ``measured`` then says what is missing."""

    what: str
    measured: str
    target: str
    good: bool | None


class Missing(Exception):
    """A program that a part needs is not installed; the text says how to get it."""


class Failed(Exception):
    """A part found something; the text is its evidence."""


def find_tool(name: str, hint: str) -> str:
    """The newest ``name-N`` that is installed, else ``name``. Raises Missing."""
    for version in range(30, 17, -1):
        found = shutil.which(f"{name}-{version}")
        if found:
            return found
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not installed: {hint}")
    return found


def run(command: Sequence[str | Path], timeout: float, env: Mapping[str, str] | None = None, log: str = "log") -> str:
    """Run a program in the repository's root; return its output, which is kept as ``<log>.txt`` too. Raises Failed."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{log}.txt"
    with path.open("w") as out:
        try:
            code = subprocess.run(
                list(map(str, command)),
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env={**os.environ, **(env or {})},
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    text = path.read_text(errors="replace")
    if code:
        why = f"ended with {code}" if code > 0 else f"was stopped after {timeout:.0f} s or by a signal"
        raise Failed(f"{Path(command[0]).name} {why}; the end of {path}:\n{text[-2000:]}")
    return text
