# SPDX-License-Identifier: Apache-2.0
"""The linear op in cycles on the core models of ``cores/*.toml``, simulated by rvsim (the extra ``bench``).

What the model captures and what it does not stands in docs/benchmarks.md.
"""

from __future__ import annotations

import copy
import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.bench.bound import board_layout
from host.boards import load_board
from host.errors import TargetError, UsageError
from host.kernels import families
from host.schema.formats import formats
from host.schema.image import Layout
from tools.bench.bare import MEMORY_C, ROOT, START_S, compile_kernels
from tools.scons.toolchain import choose

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
CORES = HERE / "cores"
SOURCES = [HERE / "cycles.c", START_S, MEMORY_C, ROOT / "firmware/common/pool.c"]
GIB = 1 << 30
LANE_BITS = 64
COLUMNS = 384
TILE = 64
GELU_WIDTH = 768
"""Elements that cycles.c's norm and gelu take."""
INPUTS = (1, 4, 8)
MAX_CYCLES = 500_000_000


@dataclass(frozen=True)
class Core:
    """One core model. rvsim: settings over rvsim's defaults; models: further settings by name, the bounding models."""

    name: str
    title: str
    board: str
    clock_mhz: int
    harts: list[int]
    vlens: list[int]
    read_mb_s: int
    rvsim: dict[str, Any]
    models: dict[str, dict[str, Any]]

    @property
    def read_bytes(self) -> float:
        """Bytes a cycle that all harts together can read from memory."""
        return self.read_mb_s / self.clock_mhz


@dataclass(frozen=True)
class Case:
    """A linear op: ``inputs`` rows of activations against ``outputs`` weight rows of ``columns``."""

    kernel: str
    columns: int
    inputs: int
    outputs: int

    @property
    def macs(self) -> int:
        """Weights times input rows."""
        return self.columns * self.inputs * self.outputs


@dataclass(frozen=True)
class Cycles:
    """A case on one model, hart 0's counts. cold: its bytes of weights come from memory; warm: once more, from a cache.

    ``case.kernel`` is ``read`` for plain loads of so many bytes, ``barrier`` for a call of nothing on all harts,
    ``norm`` and ``gelu`` for ops that are not linear.
    """

    core: str
    model: str
    vlen: int
    harts: int
    case: Case
    bytes: int
    cold_cycles: int
    cold_instructions: int
    warm_cycles: int
    warm_instructions: int

    @property
    def bytes_a_cycle(self) -> float:
        """Speed at which all harts together read weights from memory."""
        return self.bytes / self.cold_cycles

    @property
    def cycles_an_instruction(self) -> float:
        """From the cache."""
        return self.warm_cycles / self.warm_instructions


def core_names() -> list[str]:
    """The models there are."""
    return sorted(path.stem for path in CORES.glob("*.toml"))


def load_core(name: str) -> Core:
    """The core of that name. Raises UsageError for an unknown one."""
    path = CORES / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"there is no core model {name!r}; known are {', '.join(core_names())} (tools/bench/cores)")
    return Core(name=name, **tomllib.loads(path.read_text()))


def merge(settings: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid over nested settings; a key that rvsim does not know is a UsageError."""
    merged = copy.deepcopy(settings)
    for key, value in over.items():
        if key not in merged and not key.endswith("_count"):
            raise UsageError(f"rvsim has no setting {key!r}")
        merged[key] = merge(merged[key], value) if isinstance(value, dict) else value
    return merged


def settings(core: Core, model: str, vlen: int, harts: int) -> dict[str, Any]:
    """What rvsim is given. Raises UsageError where it is not installed."""
    try:
        from rvsim import Backend, Config
    except ImportError:
        raise UsageError("core models need rvsim: pip install 'hartspeak[bench]'") from None
    vector: dict[str, Any] = {"vlen": vlen, "num_vec_lanes": vlen // LANE_BITS} if vlen else {}
    config: dict[str, Any] = Config(
        backend=Backend.OutOfOrder(), hart_count=harts, cpu_clock_mhz=core.clock_mhz, **vector
    ).to_dict()
    config["memory"]["simple_bandwidth_gib_s"] = core.read_mb_s * 1e6 / GIB
    config["system"]["console"] = "captured"
    return merge(merge(config, core.rvsim), core.models[model])


def c_initializer(case: Case, layout: Layout) -> str:
    """The case as cycles.c's ``struct run_case``."""
    fmt = formats()[case.kernel]
    layout = fmt.layout_for(layout)
    numbers = [fmt.id, layout, fmt.record_bytes(layout), case.columns, case.inputs, case.outputs]
    return f'{{"{case.kernel}",{",".join(map(str, numbers))}}}'


def build(folder: Path, core: Core, family: str, harts: int, cases: list[Case]) -> Path:
    """The program of cycles.c for these cases, compiled as the board's firmware is."""
    board = load_board(core.board)
    layout = board_layout(board, families()[family].layout)
    flags = [
        f"-DCASES={','.join(c_initializer(case, layout) for case in cases)}",
        f"-DHARTS={harts}",
        f"-DNORM_WIDTH={GELU_WIDTH}",
    ]
    flags += [f"-DWEIGHT_BYTES={sum(c.columns * c.outputs * 2 for c in cases)}"]
    return compile_kernels(folder / f"{core.name}-{harts}.elf", family, choose("zig", board, family), SOURCES, flags)


def simulate(elf: Path, core: Core, model: str, vlen: int, harts: int) -> list[Cycles]:
    """Every case of the program on one model. TargetError where it does not end."""
    from rvsim import Simulator

    simulator = Simulator(settings(core, model, vlen, harts), binary=str(elf))
    code = simulator.run(limit=MAX_CYCLES)
    said = simulator.read_console()
    if code != 0:
        raise TargetError(f"{core.name} {model}: the program did not end ({simulator.pc:#x}); it said:\n{said}")
    found = []
    for kernel, *numbers in map(str.split, said.splitlines()):
        columns, inputs, outputs, *counts = map(int, numbers)
        found.append(Cycles(core.name, model, vlen, harts, Case(kernel, columns, inputs, outputs), *counts))
    return found


def shapes(kernel: str, harts: int, inputs: Sequence[int]) -> list[Case]:
    """One hart: a tile that stays in 32 KiB, and 8 tiles for one input row; several harts: 4 tiles each."""
    if harts > 1:
        return [Case(kernel, COLUMNS, 1, 4 * TILE * harts)]
    return [Case(kernel, COLUMNS, count, TILE) for count in inputs] + [Case(kernel, COLUMNS, 1, 8 * TILE)]


def measure_core(core: Core, kernels: Sequence[str], inputs: Sequence[int] = INPUTS) -> list[Cycles]:
    """Every kernel with so many input rows on each model, VLEN and number of harts of a core."""
    family, found = "rvv" if core.vlens[0] else "scalar", []
    with tempfile.TemporaryDirectory() as folder:
        for harts in core.harts:
            cases = [case for kernel in kernels for case in shapes(kernel, harts, inputs)]
            elf = build(Path(folder), core, family, harts, cases)
            for vlen, model in itertools.product(core.vlens, core.models):
                found += simulate(elf, core, model, vlen, harts)
    return found
