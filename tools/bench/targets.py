# SPDX-License-Identifier: Apache-2.0
"""What this project wants to be measured by, beside what it measures: ``python -m tools.bench.targets``.

Each part can be run alone with ``--only``; all of them take about half an hour. llama.cpp's side is what peers.py has
recorded, for the seconds of ``wall`` it is built and run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from host.bench.measure import Plan, bench_tokens, measure
from host.bench.traffic import op_group
from host.errors import HostError, TargetError
from host.link.transfer import SavedSession, save_session
from host.packing.resolve import resolve_image
from host.talk.opening import OpenOptions, open_model
from tools.bench import peers
from tools.bench.bare import BARE, CASES, bare_toolchain, compile_kernels
from tools.bench.cores import Cycles, load_core, measure_core
from tools.bench.kernels import count_program
from tools.bench.llama import VARIANTS, Variant, work_folder
from tools.bench.predict import core_rates, gpt2_images, predict_image

GGML = {"in-order": 2.68, "out-of-order": 0.42}
"""Recorded: cycles a weight of ggml's best 4-bit kernel (repacked 16x1) at VLEN 256 on the two models of x60.toml."""
DEPTH = 512
PROMPT, DECODE = 64, 4
COUNTED = (
    # variant, format, most of llama.cpp's decoded token, most of its prompt token
    ("rvv256", "Q4_0", 0.22, 0.32),
    ("rvv128", "Q4_0", 0.22, None),
    ("rvv256", "Q8_0", 0.22, None),
    ("scalar", "Q4_0", 0.18, 0.20),
    ("scalar", "Q8_0", 0.26, None),
)


@dataclass(frozen=True)
class Row:
    """One target: ``found`` should be at most (or at least) ``target``; None: only reported."""

    what: str
    found: float
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached."""
        if self.target is None:
            return None
        return self.found >= self.target if self.at_least else self.found <= self.target


class Bench:
    """What several parts need: the model in several formats, QEMU's counter, our firmware."""

    def __init__(self) -> None:
        self.work = work_folder()
        self.work.mkdir(parents=True, exist_ok=True)
        self.qemu = peers.qemu_user()
        self.source = peers.model_file(peers.MODEL)

    def counter(self) -> peers.Counter:
        """QEMU with the plugin."""
        return peers.Counter(self.qemu, peers.build_plugin(self.work, self.qemu))

    def image(self, variant: Variant, kind: str) -> Path:
        """Our image of the model."""
        return resolve_image(str(peers.quantized_file(self.source, kind, self.work)), variant.target)

    def count(self, variant: Variant, kind: str) -> Callable[[int, int], int]:
        """Counts our instructions in a run of so many prompt and decoded tokens."""
        program = peers.our_program(variant)
        return partial(peers.count_ours, self.counter(), program, variant.qemu, self.image(variant, kind))


def variant_of(name: str) -> Variant:
    """By its name."""
    return next(v for v in VARIANTS if v.name == name)


def instructions(bench: Bench) -> Iterator[Row]:
    """Instructions a token beside llama.cpp's, as a share of them."""
    for name, kind, decode, prefill in COUNTED:
        theirs = peers.RECORDED[name, kind]
        count = bench.count(variant_of(name), kind)
        one, longer = count(1, 0), count(1, DECODE)
        found = (longer - one) / DECODE / 1e6
        note = f"{found:.2f} of {theirs[0]:.1f} M"
        yield Row(f"instructions a decoded token, {name}, {kind}", found / theirs[0], decode, note=note)
        if prefill:
            found = (count(PROMPT, 0) - one) / (PROMPT - 1) / 1e6
            note = f"{found:.2f} of {theirs[1]:.1f} M"
            yield Row(
                f"instructions a prompt token, pp {PROMPT}, {name}, {kind}", found / theirs[1], prefill, note=note
            )


def registers(bench: Bench) -> Iterator[Row]:  # noqa: ARG001
    """Register work of the decode kernel."""
    with tempfile.TemporaryDirectory() as folder:
        elf = compile_kernels(Path(folder) / "rvv.elf", "rvv", bare_toolchain("rvv"), [*BARE, *CASES], [])
        for count in count_program(elf, "rvv", 256, registers=True):
            if (count.case.kernel, count.case.inputs, count.case.columns) == ("q4", 1, 576):
                yield Row("register work a weight, q4, 1 row, VLEN 256", count.registers / count.case.macs, 0.15)


def _warm(cycles: list[Cycles], model: str, vlen: int, harts: int) -> Cycles:
    """The q4 decode case, the smallest where there are several."""
    found = [c for c in cycles if (c.model, c.vlen, c.harts, c.case.kernel) == (model, vlen, harts, "q4")]
    return next(c for c in found if c.case.inputs == 1)


def cycles(bench: Bench) -> Iterator[Row]:  # noqa: ARG001
    """The core models."""
    core = load_core("u74")
    found = measure_core(core, ("q4",), inputs=(1,))
    one, four = (_warm(found, "in-order", 0, harts) for harts in (1, 4))
    yield Row("cycles a weight, q4, U74 model, from cache, 1 hart", one.warm_cycles / one.case.macs, 0.80)
    share = four.bytes_a_cycle / core.read_bytes
    yield Row("share of the memory speed, q4, U74 model, 4 harts", share, 0.85, at_least=True)
    tiles = next(c for c in found if c.harts == 1 and c.case.outputs > one.case.outputs)
    speed_up = tiles.warm_cycles / tiles.case.macs / (four.warm_cycles / four.case.macs)
    yield Row("speed-up by 4 harts, q4, U74 model, from cache", speed_up)
    barrier = next(c.warm_cycles for c in found if c.harts == 4 and c.case.kernel == "barrier")
    yield Row("a barrier of 4 harts, U74 model, microseconds", barrier / core.clock_mhz, 1.0, note=f"{barrier} cycles")
    found = measure_core(load_core("x60"), ("q4",), inputs=(1,))
    for model, theirs in GGML.items():
        case = _warm(found, model, 256, 1)
        ours = case.warm_cycles / case.case.macs
        note = f"{ours:.3f} of {theirs} cycles a weight"
        yield Row(f"cycles beside ggml's, q4, X60 model, {model}", ours / theirs, 0.4, note=note)


def gpt2(bench: Bench) -> Iterator[Row]:  # noqa: ARG001
    """GPT-2 124M's shapes on the VisionFive 2."""
    core = load_core("u74")
    rates = core_rates(core, "in-order", 4, measure_core(core, ("q4", "q8"), inputs=(1,)))
    for path, target in zip(gpt2_images(core), (17, 9), strict=True):
        found = predict_image(path, core, rates, 1)
        note = f"the memory's bound is {1 / found.bound_seconds:.2f}"
        yield Row(f"tokens/s predicted, {path.stem}", found.tokens_per_second, target, at_least=True, note=note)


def native_state(image: Path, depth: int) -> SavedSession:
    """A session of all but the last of ``depth`` tokens, computed here: states are the same on every target."""
    with open_model(str(image), "native") as model:
        model.client.prompt(bench_tokens(depth, model.client.info.vocab)[:-1])
        model.client.generate(0).finish()
        return save_session(model.client)


def others(bench: Bench) -> Iterator[Row]:
    """What is not linear in a token at position 512, by the device's own count of its ops on Spike."""
    plan = Plan(1, 2, 1, DEPTH, by_op=True)
    for name, target in (
        ("rvv256", "spike:rvv,vlen=256"),
        ("rvv128", "spike:rvv,vlen=128"),
        ("scalar", "spike:scalar"),
    ):
        image = bench.image(variant_of(name), "Q4_0")
        state = native_state(image, DEPTH)
        with open_model(str(image), target) as model:
            costs = measure(model.client, model.image, plan, depth_state=state).decode.by_op
        linear = {op_group(model.image, op) for op in model.image.ops if op.name == "linear"}
        whole = sum(cost.instret for cost in costs.values())
        rest = {group: cost.instret for group, cost in costs.items() if group not in linear}
        most = ", ".join(f"{group} {value / 1e6:.2f}" for group, value in islice(rest.items(), 3))
        note = f"{sum(rest.values()) / 1e6:.2f} of {whole / 1e6:.2f} M: {most}"
        yield Row(f"all but the linear ops at position {DEPTH}, {name}", sum(rest.values()) / whole, 0.20, note=note)


def startup(bench: Bench) -> Iterator[Row]:
    """From the mapped image to the first step possible, hashes of the weights apart: what the boot report says."""
    lines: list[str] = []
    image = bench.image(variant_of("scalar"), "Q4_0")
    with open_model(str(image), "spike:scalar", OpenOptions(console=lines.append)):
        said = re.search(r"loaded in (\d+) instructions", "\n".join(lines))
    if not said:
        raise TargetError("the boot report does not say how many instructions loading took")
    yield Row("start-up, M instructions, hashes apart", int(said[1]) / 1e6, 1.0)


def wall(bench: Bench) -> Iterator[Row]:
    """Seconds beside llama.cpp's, in turns, scalar, one thread each."""
    for found in peers.compare_seconds(bench.qemu, ["Q4_0"], 16, 16, 3, bench.source, bench.work):
        if found.ratio_of:
            note = f"{found.decode:.2f} tokens/s of {found.ratio_of.decode:.2f}"
            ratio = found.decode / found.ratio_of.decode
            yield Row(f"decode beside llama.cpp's, {found.name}", ratio, 4.0, at_least=True, note=note)


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "registers": registers,
    "cycles": cycles,
    "instructions": instructions,
    "startup": startup,
    "wall": wall,
    "others": others,
    "gpt2": gpt2,
}


def row_line(row: Row) -> str:
    """One row as text."""
    sign = "" if row.target is None else f"{'>=' if row.at_least else '<='} {row.target:g}"
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    return f"{row.what:<62}{row.found:>9.3f}  {sign:<8}{verdict:<8}{row.note}"


def main() -> None:
    """Measure and print, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part; repeatable")
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    given = parser.parse_args()
    try:
        bench = Bench()
        for name in given.only or PARTS:
            for row in PARTS[name](bench):
                print(json.dumps(asdict(row) | {"met": row.met}) if given.json else row_line(row), flush=True)
    except HostError as error:
        sys.exit(f"targets: {error}")


if __name__ == "__main__":
    main()
