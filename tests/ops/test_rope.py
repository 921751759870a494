# SPDX-License-Identifier: Apache-2.0
"""ROPE against docs/numerics.md, bit for bit."""

from __future__ import annotations

import pytest

from host.ops.rope import RopeStyle
from tests.support.native import Native
from tests.support.ops import F32, U32, OpF32, Rows, normal, run_op, same, steps, struct
from tests.support.reference import fma

ROPE = struct("Rope", x=OpF32, table=OpF32, heads=U32, head_dim=U32, rotary=U32, style=U32)


def rope(x: F32, cosines: F32, sines: F32, halves: bool) -> F32:
    """One head's rotated elements; the rest is appended unchanged by the caller."""
    half = len(cosines)
    first = slice(0, half) if halves else slice(0, 2 * half, 2)
    second = slice(half, 2 * half) if halves else slice(1, 2 * half, 2)
    y = x.copy()
    y[first] = fma(x[first], cosines, -(x[second] * sines))
    y[second] = fma(x[second], cosines, x[first] * sines)
    return y


@pytest.mark.parametrize("style", list(RopeStyle))
@pytest.mark.parametrize("rotary", [16, 10])
def test_rope(device: Native, style: RopeStyle, rotary: int) -> None:
    heads, head_dim, rows = 3, 16, 5
    x, table = normal(rows, heads * head_dim), normal(rows, rotary, seed=3)
    expected = x.copy().reshape(rows, heads, head_dim)
    for r in range(rows):
        for h in range(heads):
            args = table[r, : rotary // 2], table[r, rotary // 2 :], style == RopeStyle.HALVES
            expected[r, h, :rotary] = rope(expected[r, h, :rotary], *args)
    step, alive = steps(rows)
    held, angles = Rows(x), Rows(table)
    body = {"heads": heads, "head_dim": head_dim, "rotary": rotary, "style": style}
    run_op(device, "rope", step, ROPE(x=held.operand, table=angles.operand, **body))
    same(held.values, expected.reshape(rows, -1))
    assert held.untouched
    assert alive
