# SPDX-License-Identifier: Apache-2.0
"""ELTWISE against docs/numerics.md, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from host.ops.eltwise import Eltwise
from host.schema.image import Activation
from tests.support import reference
from tests.support.native import Native
from tests.support.ops import F32, NOTHING, PTR, U32, OpF32, Rows, normal, run_op, same, spread, steps, struct

ELTWISE = struct("Eltwise", a=OpF32, b=OpF32, dst=OpF32, tensor=PTR, kind=U32, activation=U32, width=U32)


def eltwise(
    device: Native, kind: Eltwise, a: F32, b: F32 | None = None, tensor: F32 | None = None, act: int = 0
) -> F32:
    step, alive = steps(len(a))
    src, other, dst = Rows(a), Rows(b) if b is not None else None, Rows(rows=len(a), width=a.shape[1])
    run_op(
        device,
        "eltwise",
        step,
        ELTWISE(
            a=src.operand,
            b=other.operand if other else NOTHING,
            dst=dst.operand,
            tensor=tensor.ctypes.data if tensor is not None else None,
            kind=kind,
            activation=act,
            width=a.shape[1],
        ),
    )
    assert dst.untouched
    assert alive
    return dst.values


@pytest.mark.parametrize("act", [a for a in Activation if a != Activation.NONE])
def test_activations(native: Native, act: Activation) -> None:
    x = np.concatenate([spread(12, 3000), [0.0, -0.0, 100, -100, 1e30, -1e30]]).astype(np.float32)[None]
    same(eltwise(native, Eltwise.ACT, x, act=act), reference.activate(x, act.name))


def test_eltwise(device: Native) -> None:
    a, b, t = normal(3, 100), normal(3, 100, seed=1), normal(100, seed=2)
    same(eltwise(device, Eltwise.ADD, a, b), a + b)
    same(eltwise(device, Eltwise.MUL, a, b), a * b)
    same(eltwise(device, Eltwise.BIAS, a, tensor=t), a + t)
    same(eltwise(device, Eltwise.GATE, a, b, act=Activation.SILU), reference.activate(a, "SILU") * b)
