# SPDX-License-Identifier: Apache-2.0
"""Tokens a second that an image will reach on a board, before there is one: ``python -m tools.bench.predict IMAGE``.

Instructions by op are counted on the board's twin on Spike with one hart. A linear op takes the longer of two times:
its weights at the speed at which all harts of the core model read that kernel's weights from memory, and its
instructions, shared by the harts, at the model's cycles an instruction; its activation comes on top. Attention is
shared by its heads; the rest is charged as if one hart did it all. Norms and quantization take the model's cycles an
instruction of its norm, what else there is those of GELU, the worst known. Each op pays the model's barrier. Without
IMAGE: GPT-2 124M's shapes with random weights, in 4 and in 8 bits.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from host.bench.bound import board_layout
from host.bench.measure import OpShare, Plan, measure
from host.bench.traffic import op_group
from host.boards import load_board
from host.errors import HostError, UsageError
from host.image.reader import Image
from host.ir.program import Traffic
from host.schema.formats import formats
from host.schema.image import Activation, Format
from host.talk.opening import open_model
from tools.bench.bare import group_formats
from tools.bench.cores import GELU_WIDTH, Core, Cycles, core_names, load_core, measure_core
from tools.bench.gpt2 import gpt2_image
from tools.bench.llama import work_folder

ATTENTION = "attention"
NORMS = ("norm", "quantize")


@dataclass(frozen=True)
class Rates:
    """What a core model does with so many harts. By kernel: bytes a cycle from memory, cycles an instruction."""

    clock_hz: float
    harts: int
    read: float
    bytes_a_cycle: Mapping[str, float]
    linear: Mapping[str, float]
    norm: float
    """Cycles an instruction of norms and quantization."""
    other: float
    """Cycles an instruction of what else there is."""
    activation: float
    """Cycles an element of a linear op's activation."""
    barrier: float
    """Cycles an op."""


@dataclass(frozen=True)
class Share:
    """One group of ops in a token: bytes read and instructions of one hart; seconds of either, and what counts."""

    group: str
    bytes: float
    instructions: float
    memory_seconds: float
    compute_seconds: float

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.memory_seconds, self.compute_seconds)


@dataclass(frozen=True)
class Prediction:
    """A token in its groups, with the barriers."""

    shares: list[Share]
    activation_seconds: float
    barrier_seconds: float
    bound_seconds: float
    """The bytes of all groups at the memory's speed, and nothing else."""

    @property
    def tokens_per_second(self) -> float:
        """All ops one after the other."""
        ops = sum(share.seconds for share in self.shares)
        return 1 / (ops + self.activation_seconds + self.barrier_seconds)


def core_rates(core: Core, model: str, harts: int, cycles: list[Cycles]) -> Rates:
    """The rates among the measured cases. Raises UsageError where they were not measured."""
    mine = [c for c in cycles if c.model == model and c.vlen == core.vlens[0]]
    decode = [c for c in mine if c.harts == harts and c.case.inputs == 1]
    if not decode:
        raise UsageError(f"core model {core.name} has {' or '.join(map(str, core.harts))} harts, not {harts}")
    single = {c.case.kernel: c for c in mine if c.harts == 1}
    return Rates(
        clock_hz=core.clock_mhz * 1e6,
        harts=harts,
        read=core.read_bytes,
        bytes_a_cycle={c.case.kernel: c.bytes_a_cycle for c in decode},
        linear={c.case.kernel: c.cycles_an_instruction for c in mine if c.harts == 1 and c.case.inputs == 1},
        activation=single["gelu"].warm_cycles / GELU_WIDTH,
        norm=single["norm"].cycles_an_instruction,
        other=single["gelu"].cycles_an_instruction,
        barrier=next(c.warm_cycles for c in mine if c.harts == harts and c.case.kernel == "barrier"),
    )


def linear_kernels(image: Image) -> dict[str, str]:
    """Group of linear ops to the kernel that its weights take. Raises UsageError for weights that no model measures."""
    found = {}
    for op in image.ops:
        if op.name == "linear":
            tensor = image.tensors[op.fields["weight"]]
            if tensor.format.activations != Format.Q8A:
                raise UsageError(f"{tensor.name} is {tensor.format}; only weights in groups are predicted")
            found[op_group(image, op)] = tensor.format.name
    return found


def activated(image: Image) -> int:
    """Elements of a token that go through the activation of a linear op."""
    linear = [op.fields for op in image.ops if op.name == "linear"]
    return sum(fields["n"] for fields in linear if fields["activation"] != Activation.NONE)


def hart_cycles(group: str, kernel: str | None, instructions: float, rates: Rates) -> float:
    """Cycles of the busiest hart in a group of ops of so many instructions."""
    if kernel:
        return instructions * rates.linear[kernel] / rates.harts
    if group == ATTENTION:
        return instructions * rates.other / rates.harts
    return instructions * (rates.norm if group in NORMS else rates.other)


def predict(
    costs: Mapping[str, OpShare],
    traffic: Mapping[str, Traffic],
    kernels: Mapping[str, str],
    elements: int,
    ops: int,
    rates: Rates,
) -> Prediction:
    """From a decoded token's instructions and bytes by group. kernels: which groups are linear, and how.

    elements: those that an activation takes; ops: those of the program.
    """
    shares = []
    for group, cost in costs.items():
        read = traffic.get(group, Traffic()).bytes
        kernel = kernels.get(group)
        speed = rates.bytes_a_cycle[kernel] if kernel else rates.read
        cycles = hart_cycles(group, kernel, cost.instret, rates)
        shares.append(Share(group, read, cost.instret, read / speed / rates.clock_hz, cycles / rates.clock_hz))
    bound = sum(share.bytes for share in shares) / rates.read / rates.clock_hz
    activation = elements * rates.activation / rates.harts / rates.clock_hz
    return Prediction(shares, activation, ops * rates.barrier / rates.clock_hz, bound)


def predict_image(path: Path, core: Core, rates: Rates, depth: int) -> Prediction:
    """Count a decoded token behind ``depth`` others on the board's twin, and predict."""
    image = Image(path)
    kernels = linear_kernels(image)
    with open_model(str(path), f"{core.board}@spike:harts=1") as model:
        phase = measure(model.client, model.image, Plan(1, 2, 1, depth, by_op=True)).decode
    return predict(phase.by_op, phase.traffic, kernels, activated(image), len(image.ops), rates)


def prediction_table(title: str, found: Prediction) -> Table:
    """A row a group, the longest first."""
    table = Table(title=title, box=None)
    for column in ("", "MB", "M instructions", "ms from memory", "ms of instructions", "ms"):
        table.add_column(column, justify="right" if column else "left")
    for share in sorted(found.shares, key=lambda share: -share.seconds):
        values = (share.bytes / 1e6, share.instructions / 1e6)
        times = (share.memory_seconds * 1e3, share.compute_seconds * 1e3, share.seconds * 1e3)
        table.add_row(share.group, *(f"{value:.3f}" for value in (*values, *times)))
    table.add_row("activations", "", "", "", "", f"{found.activation_seconds * 1e3:.3f}")
    table.add_row("barriers", "", "", "", "", f"{found.barrier_seconds * 1e3:.3f}")
    return table


def facts(title: str, found: Prediction) -> dict[str, Any]:
    """One image for ``--json``; ``title`` says on what."""
    return {
        "title": title,
        "tokens_per_second": found.tokens_per_second,
        "bound_tokens_per_second": 1 / found.bound_seconds,
        "groups": [vars(share) | {"seconds": share.seconds} for share in found.shares],
        "activation_seconds": found.activation_seconds,
        "barrier_seconds": found.barrier_seconds,
    }


def main() -> None:
    """Measure the core model, count, predict, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path, help="image for the core model's board; GPT-2's shapes if none")
    parser.add_argument("--core", choices=core_names(), default="u74", help="core model (u74)")
    parser.add_argument("--harts", type=int, default=4, help="harts that share the work (4)")
    parser.add_argument("-d", "--depth", type=int, default=1, help="tokens in front of the decoded one (1)")
    parser.add_argument("--json", action="store_true", help="print JSON, a line an image")
    given = parser.parse_args()
    try:
        core = load_core(given.core)
        images = [given.image] if given.image else gpt2_images(core)
        cycles = measure_core(core, group_formats(), inputs=(1,))
        rates = core_rates(core, next(iter(core.models)), given.harts, cycles)
        for path in images:
            found = predict_image(path, core, rates, given.depth)
            print_prediction(f"{path.name}, {core.title}, {given.harts} harts", found, given.json)
    except HostError as error:
        sys.exit(f"predict: {error}")


def print_prediction(title: str, found: Prediction, as_json: bool) -> None:
    """A line of JSON, or the table and the speed."""
    if as_json:
        print(json.dumps(facts(title, found)), flush=True)
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(prediction_table(title, found))
    bound = f"the memory's bound is {1 / found.bound_seconds:.2f}"
    console.print(f"{found.tokens_per_second:.2f} tokens/s; {bound}\n", highlight=False)


def gpt2_images(core: Core) -> list[Path]:
    """GPT-2 124M's shapes in 4 and in 8 bits, kept for the next time."""
    folder = work_folder()
    folder.mkdir(parents=True, exist_ok=True)
    board = load_board(core.board)
    names = {
        bits: formats()[bits].layout_for(board_layout(board, board.layout())).name.lower() for bits in ("q4", "q8")
    }
    return [
        gpt2_image(core.board, bits, folder / f"gpt2-random.{core.board}.{bits}.{name}.hsp")
        for bits, name in names.items()
    ]


if __name__ == "__main__":
    main()
