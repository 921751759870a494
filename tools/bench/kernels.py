# SPDX-License-Identifier: Apache-2.0
"""Every linear kernel by shape and VLEN: instructions on Spike, cycles and bytes a cycle on core models.

usage: python -m tools.bench.kernels [--json] [--vlen N ...] [--core NAME ... | --no-cycles]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from host.errors import HostError, TargetError
from tools.bench.bare import BARE, CASES, LAYOUTS, bare_toolchain, compile_kernels, run_spike
from tools.bench.cores import Case, Core, Cycles, core_names, load_core, measure_core

VLENS = [128, 256, 512, 1024]
FORMATS = ("q4", "q4m", "q8")


@dataclass(frozen=True)
class Count:
    """What Spike counts for one call; VLEN 0 is scalar."""

    vlen: int
    case: Case
    instructions: int

    @property
    def per_mac(self) -> float:
        """Instructions a weight and input row."""
        return self.instructions / self.case.macs


def parse_counts(output: str, family: str, vlen: int) -> list[Count]:
    """The linear kernels among the lines of the test program, those on random values."""
    names = {f"{fmt}_{LAYOUTS[family]}": fmt for fmt in FORMATS} | {"f32": "f32", "bf16": "bf16"}
    counts = []
    for words in map(str.split, output.splitlines()):
        if len(words) == 7 and words[0] in names and words[1] == "random":
            counts.append(Count(vlen, Case(names[words[0]], *map(int, words[2:5])), int(words[6])))
    if not counts:
        raise TargetError(f"Spike ran no linear kernel at VLEN {vlen}; it said:\n{output}")
    return counts


def count_instructions(vlens: list[int]) -> list[Count]:
    """The scalar kernels, then the RVV ones at each VLEN."""
    counts: list[Count] = []
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        for vlen in track([0, *vlens], "kernels on Spike", console=console, disable=not console.is_terminal):
            family = "rvv" if vlen else "scalar"
            elf = Path(name) / f"{family}.elf"
            if not elf.exists():
                compile_kernels(elf, family, bare_toolchain(family), [*BARE, *CASES], [])
            counts += parse_counts(run_spike(elf, vlen), family, vlen)
    return counts


def count_cycles(cores: list[Core]) -> list[Cycles]:
    """Every format and shape on every model of the cores."""
    console, found = Console(stderr=True), []
    for core in track(cores, "kernels on core models", console=console, disable=not console.is_terminal):
        found += measure_core(core, FORMATS)
    return found


def instruction_table(counts: list[Count]) -> Table:
    """A row a kernel and shape, a column a VLEN."""
    vlens = sorted({c.vlen for c in counts})
    shown = Table(title="instructions a weight and input row, Spike", box=None)
    for title in ("kernel", "columns", "input rows", "weight rows", *(f"VLEN {v}" if v else "scalar" for v in vlens)):
        shown.add_column(title, justify="left" if title == "kernel" else "right")
    rows: dict[Case, dict[int, float]] = {}
    for c in counts:
        rows.setdefault(c.case, {})[c.vlen] = c.per_mac
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
        "instructions": [asdict(c.case) | {"vlen": c.vlen, "instructions": c.instructions} for c in counts],
        "cycles": [asdict(c) for c in cycles],
    }


def main() -> None:
    """Count, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--vlen", type=int, action="append", choices=VLENS, help="only this VLEN on Spike; repeatable")
    parser.add_argument("--core", action="append", choices=core_names(), help="only this core model; repeatable")
    parser.add_argument("--no-cycles", action="store_true", help="Spike only, which needs no rvsim")
    parser.add_argument("--no-spike", action="store_true", help="core models only")
    options = parser.parse_args()
    cores = [] if options.no_cycles else [load_core(name) for name in options.core or core_names()]
    try:
        cycles = count_cycles(cores)
        counts = [] if options.no_spike else count_instructions(options.vlen or VLENS)
    except HostError as error:
        sys.exit(f"kernels: {error}")
    if options.json:
        print(json.dumps(facts(counts, cycles), indent=1))
        return
    tables = [instruction_table(counts)] if counts else []
    tables += [cycle_table(core, [c for c in cycles if c.core == core.name]) for core in cores]
    Console(width=None if sys.stdout.isatty() else 140).print(*tables, sep="\n")


if __name__ == "__main__":
    main()
