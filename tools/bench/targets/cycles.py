# SPDX-License-Identifier: Apache-2.0
"""The core models."""

from __future__ import annotations

from collections.abc import Iterator

from tools.bench.cores import Cycles, load_core, measure_core
from tools.bench.targets.row import Bench, Row

GGML = {"in-order": 2.68, "out-of-order": 0.42}
"""Recorded: cycles a weight of ggml's best 4-bit kernel (repacked 16x1) at VLEN 256 on the two models of x60.toml."""


def _warm(cycles: list[Cycles], model: str, vlen: int, harts: int) -> Cycles:
    """The q4 decode case, the smallest where there are several."""
    found = [c for c in cycles if (c.model, c.vlen, c.harts, c.case.kernel) == (model, vlen, harts, "q4")]
    return next(c for c in found if c.case.inputs == 1)


def rows(bench: Bench) -> Iterator[Row]:  # noqa: ARG001
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
