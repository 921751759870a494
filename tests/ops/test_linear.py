# SPDX-License-Identifier: Apache-2.0
"""LINEAR against docs/numerics.md, bit for bit, in both layouts."""

from __future__ import annotations

import numpy as np
import pytest

from host.schema.formats import formats
from host.schema.formats.q8 import Q8
from host.schema.image import Activation, Layout, align
from host.schema.weights import GroupFormat, Quantized, WeightFormat
from tests.support import reference
from tests.support.native import Native
from tests.support.ops import (
    F32,
    NOTHING,
    PTR,
    U32,
    KernelWeight,
    OpF32,
    OpQ8a,
    QuantizedRows,
    Rows,
    Weight,
    normal,
    run_op,
    same,
    steps,
    struct,
)

LINEAR = struct(
    "Linear",
    src_q8a=OpQ8a,
    src_f32=OpF32,
    dst=OpF32,
    residual=OpF32,
    weight=KernelWeight,
    bias=PTR,
    src_format=U32,
    k=U32,
    n=U32,
    activation=U32,
    gated=U32,
)


@pytest.mark.parametrize("fmt", formats().values(), ids=str)
@pytest.mark.parametrize(("n", "rows"), [(1, 1), (40, 3), (200, 11), (136, 1)])
def test_linear_with_bias_activation_and_residual(device: Native, fmt: WeightFormat, n: int, rows: int) -> None:
    k = 96 if isinstance(fmt, GroupFormat) else 41
    w, x, bias, residual = normal(n, k), normal(rows, k), normal(align(n, 64), seed=1), normal(rows, n, seed=2)
    product = linear(device, fmt, w, x, n)
    same(product, expected_product(fmt, w, x))
    full = linear(device, fmt, w, x, n, bias=bias, residual=residual, activation=Activation.GELU_TANH)
    same(full, reference.activate(product + bias[:n], "GELU_TANH") + residual)


@pytest.mark.parametrize("n", [8, 72, 160])
def test_gated_linear(device: Native, n: int) -> None:
    gate, up, x, bias = normal(n, 64), normal(n, 64, seed=5), normal(5, 64), normal(align(2 * n, 64), seed=6)
    w = np.concatenate([np.stack([gate.reshape(-1, 8, 64), up.reshape(-1, 8, 64)], axis=1)]).reshape(2 * n, 64)
    product = (expected_product(Q8, w, x) + bias[: 2 * n]).reshape(5, -1, 2, 8)
    expected = reference.activate(product[:, :, 0], "SILU") * product[:, :, 1]
    found = linear(device, Q8, w, x, n, bias=bias, activation=Activation.SILU, gated=True)
    same(found, expected.reshape(5, -1))


def expected_product(fmt: WeightFormat, w: F32, x: F32) -> F32:
    stored = fmt.quantize(w)
    if isinstance(stored, Quantized):
        return reference.linear_quantized(stored, reference.Q8A.of(x))
    return reference.linear_float(stored.float32(w.shape[1]), x)


def linear(
    device: Native,
    fmt: WeightFormat,
    w: F32,
    x: F32,
    n: int,
    bias: F32 | None = None,
    residual: F32 | None = None,
    activation: Activation = Activation.NONE,
    gated: bool = False,
) -> F32:
    """The op in all layouts of matrices; with a residual the destination is the residual."""
    found = []
    for layout in (layout for layout in fmt.layouts if layout != Layout.PLAIN):
        weight = Weight.of(w, fmt, layout)
        quantized = QuantizedRows(len(x), x.shape[1], reference.Q8A.of(x))
        plain = Rows(x)
        dst = Rows(residual) if residual is not None else Rows(rows=len(x), width=n)
        step, alive = steps(len(x))
        run_op(
            device,
            "linear",
            step,
            LINEAR(
                src_q8a=quantized.operand,
                src_f32=plain.operand,
                dst=dst.operand,
                residual=dst.operand if residual is not None else NOTHING,
                weight=weight.struct,
                bias=bias.ctypes.data if bias is not None else None,
                src_format=fmt.activations,
                k=x.shape[1],
                n=n,
                activation=activation,
                gated=int(gated),
            ),
        )
        assert dst.untouched
        assert alive
        found.append(dst.values.copy())
    for other in found[1:]:
        same(found[0], other)
    return found[0]
