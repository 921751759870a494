# SPDX-License-Identifier: Apache-2.0
"""Instructions a multiply-accumulate of every linear kernel, counted by Spike on the bare kernel test program.

usage: python -m tools.bench.kernels [--json] [--vlen N ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from host.boards import load_board
from host.errors import HostError, TargetError
from host.targets.device_tree import spike_tree
from host.targets.spike_tool import find_spike

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "firmware/kernels"
SOURCES = [KERNELS / "test/bare.c", KERNELS / "test/start.S", KERNELS / "test/cases.c", ROOT / "firmware/boot/memory.c"]
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-ffreestanding", "-fno-sanitize=undefined"]
FLAGS += ["-fno-stack-protector", "-target", "riscv64-freestanding-none", "-mabi=lp64d", "-mcmodel=medany"]
FLAGS += ["-nostdlib", "-static", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
CPUS = {"scalar": "generic_rv64+m+a+f+d+c", "rvv": "generic_rv64+m+a+f+d+c+v"}
FAMILIES = {"scalar": ["swar", "scalar"], "rvv": ["swar", "rvv"]}
LAYOUTS = {"scalar": "swar", "rvv": "rvv"}
VLENS = [128, 256, 512, 1024]
MEMORY = 64 << 20


@dataclass(frozen=True)
class Count:
    """One call: ``inputs`` rows of activations against ``outputs`` weight rows of ``columns``; VLEN 0 is scalar."""

    kernel: str
    vlen: int
    columns: int
    inputs: int
    outputs: int
    instructions: int

    @property
    def per_mac(self) -> float:
        """Instructions a weight and input row."""
        return self.instructions / (self.columns * self.inputs * self.outputs)


def build(folder: Path, family: str) -> Path:
    """The bare test program with one family's kernels. Raises TargetError with what the compiler said."""
    headers = [sys.executable, str(ROOT / "tools/gen_headers.py"), "image", str(folder / "gen/image_format.h")]
    subprocess.run(headers, check=True)
    sources = [*SOURCES, *(p for name in FAMILIES[family] for p in sorted((KERNELS / name).glob("*.c")))]
    elf = folder / f"{family}.elf"
    includes = [f"-I{ROOT / 'firmware'}", f"-I{ROOT / 'firmware/boot/include'}", f"-I{folder}"]
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, f"-mcpu={CPUS[family]}", *includes]
    command += [f"-DKERNELS_RVV={int(family == 'rvv')}", f"-Wl,-T,{KERNELS / 'test/bare.ld'}"]
    done = subprocess.run([*command, *map(str, sources), "-o", str(elf)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"the kernel test program does not compile:\n{done.stderr}")
    return elf


def count(folder: Path, elf: Path, family: str, vlen: int) -> list[Count]:
    """What Spike counts for each linear kernel of the family on random values."""
    isa = f"rv64gcv_zvl{vlen}b_zicntr" if vlen else "rv64gc_zicntr"
    tree = folder / f"{vlen}.dtb"
    tree.write_bytes(spike_tree(load_board("spike"), [0], isa, MEMORY))
    command = [str(find_spike()), f"--isa={isa}", f"-m0x80000000:{MEMORY:#x}", f"--dtb={tree}", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    names = {f"{fmt}_{LAYOUTS[family]}": fmt for fmt in ("q4", "q4m", "q8")} | {"f32": "f32", "bf16": "bf16"}
    counts = []
    for words in map(str.split, done.stdout.splitlines()):
        if len(words) == 7 and words[0] in names and words[1] == "random":
            columns, inputs, outputs = map(int, words[2:5])
            counts.append(Count(names[words[0]], vlen, columns, inputs, outputs, int(words[6])))
    if not counts:
        raise TargetError(f"Spike ran no kernel at VLEN {vlen}: {done.stderr.strip() or 'no output'}")
    return counts


def measure(vlens: list[int]) -> list[Count]:
    """The scalar kernels, then the RVV ones at each VLEN."""
    counts: list[Count] = []
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for vlen in track([0, *vlens], "kernels on Spike", console=console, disable=not console.is_terminal):
            family = "rvv" if vlen else "scalar"
            elf = folder / f"{family}.elf"
            counts += count(folder, elf if elf.exists() else build(folder, family), family, vlen)
    return counts


def table(counts: list[Count]) -> Table:
    """A row a kernel and shape, a column a VLEN."""
    vlens = sorted({c.vlen for c in counts})
    shown = Table(title="instructions a weight and input row")
    for title in ("kernel", "columns", "input rows", "weight rows", *(f"VLEN {v}" if v else "scalar" for v in vlens)):
        shown.add_column(title, justify="left" if title == "kernel" else "right")
    rows: dict[tuple[str, int, int, int], dict[int, float]] = {}
    for c in counts:
        rows.setdefault((c.kernel, c.columns, c.inputs, c.outputs), {})[c.vlen] = c.per_mac
    for key, values in rows.items():
        shown.add_row(*map(str, key), *(f"{values[v]:.3f}" for v in vlens))
    return shown


def main() -> None:
    """Count, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="Instructions a multiply-accumulate of every linear kernel, on Spike.")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--vlen", type=int, action="append", choices=VLENS, help="only this VLEN; may be repeated")
    options = parser.parse_args()
    try:
        counts = measure(options.vlen or VLENS)
    except HostError as error:
        sys.exit(f"kernels: {error}")
    if options.json:
        print(json.dumps([asdict(c) | {"per_mac": c.per_mac} for c in counts], indent=1))
    else:
        Console().print(table(counts))


if __name__ == "__main__":
    main()
