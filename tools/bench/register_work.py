# SPDX-License-Identifier: Apache-2.0
"""Register work of RVV kernels: the vector registers that executed instructions go over, from Spike's log of them.

An instruction counts by its LMUL, a widening or narrowing one at the wider side's, a load or store by what it moves,
a fraction of a register as one. A core with one vector pipe takes about as many cycles, however few its instructions.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from host.errors import TargetError
from tools.bench.bare import spike_command

STEP = re.compile(r"core +0: 0x([0-9a-f]{16}) \(0x[0-9a-f]+\) (\S+) *(.*)")
ADDRESS = re.compile(r"^0x[0-9a-f]{16}$", re.MULTILINE)
CONFIG = re.compile(r"e(\d+), m(f?)(\d)")
WHOLE = re.compile(r"v(?:l|s|mv)(\d)re?\d*\.v")
MEMORY = re.compile(r"v[ls]s?e(\d+)(?:ff)?\.v")
SCALAR = re.compile(r"vf?mv\.(?:[xf]\.s|s\.[xf])|v[ls]m\.v")
DOUBLED = re.compile(r"vf?w(?!red)|vn(?:sr|clip)|vfncvt")
SECONDS = 120


def instruction_work(name: str, width: int, lmul: Fraction) -> int:
    """Registers that one vector instruction goes over under SEW ``width`` and LMUL ``lmul``; vsetvli none."""
    if name.startswith("vset"):
        return 0
    if SCALAR.fullmatch(name):
        return 1
    if whole := WHOLE.fullmatch(name):
        return int(whole[1])
    if memory := MEMORY.fullmatch(name):
        lmul = lmul * int(memory[1]) / width
    elif DOUBLED.match(name):
        lmul *= 2
    return max(1, int(lmul))


def call_work(log: Sequence[tuple[str, str]]) -> int:
    """The sum over the instructions of a call, each its mnemonic and operands; vtype is set before it is used."""
    width, lmul, work = 8, Fraction(1), 0
    for name, operands in log:
        if name in ("vsetvli", "vsetivli") and (config := CONFIG.search(operands)):
            width, lmul = int(config[1]), Fraction(int(config[3]))
            lmul = 1 / lmul if config[2] else lmul
        elif name.startswith("v"):
            work += instruction_work(name, width, lmul)
    return work


def symbol_addresses(elf: Path) -> dict[str, int]:
    """Where a program's symbols lie."""
    with elf.open("rb") as file:
        tables = [s for s in ELFFile(file).iter_sections() if isinstance(s, SymbolTableSection)]
        return {symbol.name: int(symbol["st_value"]) for table in tables for symbol in table.iter_symbols()}


def debug_program(elf: Path, vlen: int, script: list[str]) -> str:
    """What Spike's debugger prints. Raises TargetError where it does not come to the script's end."""
    commands = elf.with_suffix(".debug")
    commands.write_text("\n".join([*script, "quit", ""]))
    spike, *options = spike_command(elf, vlen)
    command = [spike, "-d", f"--debug-cmd={commands}", *options]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise TargetError(f"Spike's debugger did not end in {SECONDS} s at VLEN {vlen}") from None
    return done.stdout + done.stderr


def register_work(elf: Path, vlen: int, calls: Sequence[str]) -> list[int]:
    """The register work of each of ``calls``: functions by name, in the order in which a bare program calls them.

    All calls of a function are from one place. Raises TargetError where Spike does not see every call.
    """
    names = list(dict.fromkeys(calls))
    entry = {name: f"{address:#x}" for name, address in symbol_addresses(elf).items() if name in names}
    first = debug_program(elf, vlen, [line for name in names for line in (f"until pc 0 {entry[name]}", "reg 0 ra")])
    back = dict(zip(names, ADDRESS.findall(first), strict=True))
    script = [line for name in calls for line in (f"until pc 0 {entry[name]}", f"untiln pc 0 {back[name]}")]
    logs: list[list[tuple[str, str]]] = []
    starts = {int(address, 16) for address in entry.values()}
    for step in filter(None, map(STEP.match, debug_program(elf, vlen, script).splitlines())):
        if int(step[1], 16) in starts:
            logs.append([])
        logs[-1].append((step[2], step[3]))
    if len(logs) != len(calls):
        raise TargetError(f"Spike saw {len(logs)} calls of {len(calls)} at VLEN {vlen}")
    return [call_work(log) for log in logs]
