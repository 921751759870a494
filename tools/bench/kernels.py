# SPDX-License-Identifier: Apache-2.0
"""Every linear kernel by shape and VLEN: instructions on Spike, cycles and bytes a cycle on core models.

usage: python -m tools.bench.kernels [--json] [--vlen N ...] [--register-work] [--core NAME ... | --no-cycles]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from host.errors import HostError, TargetError
from host.kernels import families
from tools.bench.bare import (
    BARE,
    CASES,
    bare_toolchain,
    compile_kernels,
    float_formats,
    group_formats,
    run_spike,
)
from tools.bench.cores import Case, Core, Cycles, core_names, load_core, measure_core
from tools.bench.register_work import register_work

VLENS = [128, 256, 512, 1024]


@dataclass(frozen=True)
class Count:
    """What Spike counts for one call; VLEN 0 is scalar. registers: its register work, 0 where it was not asked for."""

    vlen: int
    case: Case
    instructions: int
    registers: int = 0


def linear_lines(output: str, family: str) -> list[list[str]]:
    """The linear kernels among the lines of the test program, in words, the first the kernel's name."""
    names = {f"{fmt}_{families()[family].layout}": fmt for fmt in group_formats()} | {
        fmt: fmt for fmt in float_formats()
    }
    lines = [line.split() for line in output.splitlines()]
    return [[names[words[0]], *words[1:]] for words in lines if len(words) == 7 and words[0] in names]


def count_program(elf: Path, family: str, vlen: int, registers: bool) -> list[Count]:
    """Every linear kernel on random values, with ``registers`` its register work too."""
    output = run_spike(elf, vlen)
    lines = linear_lines(output, family)
    if not lines:
        raise TargetError(f"Spike ran no linear kernel at VLEN {vlen}; it said:\n{output}")
    counts = [Count(vlen, Case(words[0], *map(int, words[2:5])), int(words[6])) for words in lines]
    if registers and vlen:
        work = register_work(elf, vlen, [f"rvv_linear_{words[0]}" for words in lines])
        counts = [replace(count, registers=n) for count, n in zip(counts, work, strict=True)]
    return [count for count, words in zip(counts, lines, strict=True) if words[1] == "random"]


def count_instructions(vlens: list[int], registers: bool) -> list[Count]:
    """The scalar kernels, then the RVV ones at each VLEN."""
    counts: list[Count] = []
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        for vlen in track([0, *vlens], "kernels on Spike", console=console, disable=not console.is_terminal):
            family = "rvv" if vlen else "scalar"
            elf = Path(name) / f"{family}.elf"
            if not elf.exists():
                compile_kernels(elf, family, bare_toolchain(family), [*BARE, *CASES], [])
            counts += count_program(elf, family, vlen, registers)
    return counts


def count_cycles(cores: list[Core]) -> list[Cycles]:
    """Every format and shape on every model of the cores."""
    console, found = Console(stderr=True), []
    for core in track(cores, "kernels on core models", console=console, disable=not console.is_terminal):
        found += measure_core(core, group_formats())
    return found


def spike_table(title: str, counts: list[Count], value: Callable[[Count], int]) -> Table:
    """``value`` a weight and input row: a row a kernel and shape, a column a VLEN."""
    vlens = sorted({c.vlen for c in counts})
    shown = Table(title=f"{title} a weight and input row, Spike", box=None)
    for title in ("kernel", "columns", "input rows", "weight rows", *(f"VLEN {v}" if v else "scalar" for v in vlens)):
        shown.add_column(title, justify="left" if title == "kernel" else "right")
    rows: dict[Case, dict[int, float]] = {}
    for c in counts:
        rows.setdefault(c.case, {})[c.vlen] = value(c) / c.case.macs
    for case, values in rows.items():
        cells = (f"{values[v]:.3f}" if v in values else "-" for v in vlens)
        shown.add_row(case.kernel, *map(str, (case.columns, case.inputs, case.outputs)), *cells)
    return shown


def cycle_table(core: Core, found: list[Cycles]) -> Table:
    """A row a model, kernel and shape; from cache and from memory."""
    shown = Table(title=f"cycles a weight and input row, {core.title}", box=None)
    for title in ("model", "VLEN", "harts", "kernel", "columns", "input rows", "weight rows"):
        shown.add_column(title, justify="left" if title in ("model", "kernel") else "right")
    for title in ("from cache", "from memory", "bytes a cycle", "of the read speed"):
        shown.add_column(title, justify="right")
    for c in found:
        shape = (c.case.columns, c.case.inputs, c.case.outputs) if c.case.macs else ("", "", "")
        per = [c.warm_cycles, c.cold_cycles]
        cells = [f"{v / c.case.macs:.3f}" if c.case.macs else f"{v} cycles" for v in per]
        speed = [f"{c.bytes_a_cycle:.3f}", f"{c.bytes_a_cycle / core.read_bytes:.1%}"] if c.bytes else ["", ""]
        shown.add_row(c.model, str(c.vlen or "-"), str(c.harts), c.case.kernel, *map(str, shape), *cells, *speed)
    return shown


def facts(counts: list[Count], cycles: list[Cycles]) -> dict[str, object]:
    """Everything that was counted, for ``--json``."""
    return {
        "instructions": [asdict(c.case) | {k: v for k, v in asdict(c).items() if k != "case"} for c in counts],
        "cycles": [asdict(c) for c in cycles],
    }


def main() -> None:
    """Count, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--vlen", type=int, action="append", choices=VLENS, help="only this VLEN on Spike; repeatable")
    parser.add_argument("--core", action="append", choices=core_names(), help="only this core model; repeatable")
    parser.add_argument("--register-work", action="store_true", help="count that too, from Spike's log")
    parser.add_argument("--no-cycles", action="store_true", help="Spike only, which needs no rvsim")
    parser.add_argument("--no-spike", action="store_true", help="core models only")
    options = parser.parse_args()
    cores = [] if options.no_cycles else [load_core(name) for name in options.core or core_names()]
    try:
        cycles = count_cycles(cores)
        counts = [] if options.no_spike else count_instructions(options.vlen or VLENS, options.register_work)
    except HostError as error:
        sys.exit(f"kernels: {error}")
    if options.json:
        print(json.dumps(facts(counts, cycles), indent=1))
        return
    tables = [spike_table("instructions", counts, lambda c: c.instructions)] if counts else []
    if counts and options.register_work:
        vector = [c for c in counts if c.vlen]
        tables.append(spike_table("register work (instructions by LMUL)", vector, lambda c: c.registers))
    tables += [cycle_table(core, [c for c in cycles if c.core == core.name]) for core in cores]
    Console(width=None if sys.stdout.isatty() else 140).print(*tables, sep="\n")


if __name__ == "__main__":
    main()
