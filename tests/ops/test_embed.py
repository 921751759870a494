# SPDX-License-Identifier: Apache-2.0
"""EMBED against docs/numerics.md, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from host.quant.bf16 import round_bf16
from host.quant.quantize import Quantized, quantize
from host.schema.image import Format, Layout
from tests.support.native import Native
from tests.support.ops import FLOAT, U32, KernelWeight, OpF32, Rows, Weight, make_step, normal, run_op, same, struct

EMBED = struct("Embed", dst=OpF32, table=KernelWeight, positions=KernelWeight, dim=U32, scale=FLOAT)


@pytest.mark.parametrize("layout", [Layout.RVV, Layout.SWAR])
@pytest.mark.parametrize("fmt", [Format.Q4, Format.Q4M, Format.Q8, Format.F32, Format.BF16])
def test_embed_reads_tiles(device: Native, fmt: Format, layout: Layout) -> None:
    table, positions = normal(130, 90), normal(20, 90, seed=9)
    quantized = fmt in (Format.Q4, Format.Q4M, Format.Q8)
    values = quantize(table, fmt) if quantized else table
    weight = Weight.of(values, fmt, layout if quantized else Layout.RVV)
    learned = Weight.of(positions, Format.F32, Layout.PLAIN)
    plain = values.float32(90) if isinstance(values, Quantized) else table
    rows = [(0, 3, 129), (0, 4, 0), (0, 19, 63), (0, 0, 64)]
    step, alive = make_step(rows)
    dst = Rows(rows=4, width=90)
    for learn in (False, True):
        second = learned.struct if learn else KernelWeight()
        run_op(device, "embed", step, EMBED(dst=dst.operand, table=weight.struct, positions=second, dim=90, scale=1.5))
        plain = round_bf16(plain) if fmt == Format.BF16 else plain
        expected = plain[[row[2] for row in rows]] * np.float32(1.5)
        same(dst.values, expected + positions[[row[1] for row in rows]] if learn else expected)
    assert dst.untouched
    assert alive


@pytest.mark.parametrize("fmt", [Format.F32, Format.BF16])
def test_embed_reads_plain_rows(native: Native, fmt: Format) -> None:
    table = normal(9, 70)
    weight = Weight.of(table, fmt, Layout.PLAIN)
    step, alive = make_step([(0, 0, 8), (0, 1, 2)])
    dst = Rows(rows=2, width=70)
    run_op(
        native, "embed", step, EMBED(dst=dst.operand, table=weight.struct, positions=KernelWeight(), dim=70, scale=1.0)
    )
    same(dst.values, (round_bf16(table) if fmt == Format.BF16 else table)[[8, 2]])
    assert alive
