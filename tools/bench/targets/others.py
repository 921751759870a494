# SPDX-License-Identifier: Apache-2.0
"""What is not linear in a token at position 512."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from host.bench.measure import Plan, measure
from host.bench.traffic import op_group
from host.talk.opening import open_model
from tools.bench.targets.row import Bench, Row, native_state, variant_of

DEPTH = 512


def rows(bench: Bench) -> Iterator[Row]:
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
        yield Row(f"all but the linear ops at position {DEPTH}, {name}", sum(rest.values()) / whole, 0.18, note=note)
