# SPDX-License-Identifier: Apache-2.0
"""EMBED against docs/numerics.md, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from host.schema.formats import formats
from host.schema.formats.f32 import F32
from host.schema.image import Layout
from host.schema.weights import WeightFormat
from tests.support.native import Native
from tests.support.ops import FLOAT, U32, KernelWeight, OpF32, Rows, Weight, make_step, normal, run_op, same, struct

EMBED = struct("Embed", dst=OpF32, table=KernelWeight, positions=KernelWeight, dim=U32, scale=FLOAT)
STORED = [(one, layout) for one in formats().values() for layout in one.layouts]


@pytest.mark.parametrize(("fmt", "layout"), STORED, ids=str)
def test_embed_reads_every_format(device: Native, fmt: WeightFormat, layout: Layout) -> None:
    table, positions = normal(130, 90), normal(20, 90, seed=9)
    weight = Weight.of(table, fmt, layout)
    learned = Weight.of(positions, F32, Layout.PLAIN)
    plain = fmt.quantize(table).float32(90)
    rows = [(0, 3, 129), (0, 4, 0), (0, 19, 63), (0, 0, 64)]
    step, alive = make_step(rows)
    dst = Rows(rows=4, width=90)
    for learn in (False, True):
        second = learned.struct if learn else KernelWeight()
        run_op(device, "embed", step, EMBED(dst=dst.operand, table=weight.struct, positions=second, dim=90, scale=1.5))
        expected = plain[[row[2] for row in rows]] * np.float32(1.5)
        same(dst.values, expected + positions[[row[1] for row in rows]] if learn else expected)
    assert dst.untouched
    assert alive
