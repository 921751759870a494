# SPDX-License-Identifier: Apache-2.0
"""NORM against docs/numerics.md, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from host.ops.norm import NormKind
from host.schema.image import Format
from tests.support import reference
from tests.support.native import Native
from tests.support.ops import (
    F32,
    FLOAT,
    PTR,
    U32,
    OpF32,
    OpQ8a,
    QuantizedRows,
    Rows,
    normal,
    run_op,
    same,
    same_q8a,
    steps,
    struct,
)
from tests.support.reference import dot, f32, fma, total

NORM = struct(
    "Norm",
    src=OpF32,
    dst=OpF32,
    dst_q8a=OpQ8a,
    weight=PTR,
    bias=PTR,
    kind=U32,
    width=U32,
    segments=U32,
    eps=FLOAT,
    dst_format=U32,
)


def norm(x: F32, eps: float, layer: bool, weight: F32 | None, bias: F32 | None) -> F32:
    n = f32(len(x))
    mean = total(x) / n if layer else f32(0)
    d = x - mean
    y = d * (f32(1) / np.sqrt(dot(d, d) / n + f32(eps)))
    if weight is not None and bias is not None:
        return fma(y, weight, bias)
    return y * weight if weight is not None else y + bias if bias is not None else y


@pytest.mark.parametrize("kind", list(NormKind))
@pytest.mark.parametrize("given", [(False, False), (True, False), (True, True), (False, True)])
def test_norm(device: Native, kind: NormKind, given: tuple[bool, bool]) -> None:
    segments, width, rows = 3, 50, 4
    x = normal(rows, segments * width) * 3 + 1
    weight, bias = (normal(width, seed=i) if g else None for i, g in enumerate(given))
    step, alive = steps(rows)
    held = Rows(x)
    run_op(
        device,
        "norm",
        step,
        NORM(
            src=held.operand,
            dst=held.operand,
            weight=weight.ctypes.data if weight is not None else None,
            bias=bias.ctypes.data if bias is not None else None,
            kind=kind,
            width=width,
            segments=segments,
            eps=1e-5,
            dst_format=Format.F32,
        ),
    )
    parts = [norm(part, 1e-5, kind == NormKind.LAYER, weight, bias) for part in x.reshape(-1, width)]
    same(held.values, np.stack(parts).reshape(rows, -1))
    assert held.untouched
    assert alive


@pytest.mark.parametrize("width", [33, 256, 600])
def test_norm_that_writes_quantized_rows(device: Native, width: int) -> None:
    x, weight = normal(5, width), normal(width, seed=4)
    step, alive = steps(5)
    src, dst = Rows(x), QuantizedRows(5, width)
    body = {"kind": NormKind.RMS, "width": width, "segments": 1, "eps": 1e-6, "dst_format": Format.Q8A}
    run_op(device, "norm", step, NORM(src=src.operand, dst_q8a=dst.operand, weight=weight.ctypes.data, **body))
    same_q8a(dst.q8a, reference.Q8A.of(np.stack([norm(row, 1e-6, False, weight, None) for row in x])))
    assert alive
