# SPDX-License-Identifier: Apache-2.0
"""GPT-2 124M's shapes on the VisionFive 2."""

from __future__ import annotations

from collections.abc import Iterator

from tools.bench.cores import load_core, measure_core
from tools.bench.predict import core_rates, gpt2_images, predict_image
from tools.bench.targets.row import Bench, Row


def rows(bench: Bench) -> Iterator[Row]:  # noqa: ARG001
    """GPT-2 124M's shapes on the VisionFive 2."""
    core = load_core("u74")
    rates = core_rates(core, "in-order", 4, measure_core(core, ("q4", "q8"), inputs=(1,)))
    for path, target in zip(gpt2_images(core), (17, 9), strict=True):
        found = predict_image(path, core, rates, 1)
        note = f"the memory's bound is {1 / found.bound_seconds:.2f}"
        yield Row(f"tokens/s predicted, {path.stem}", found.tokens_per_second, target, at_least=True, note=note)
