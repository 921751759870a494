# SPDX-License-Identifier: Apache-2.0
"""QUANTIZE against docs/numerics.md, bit for bit."""

from __future__ import annotations

import pytest

from tests.support import reference
from tests.support.native import Native
from tests.support.ops import U32, OpF32, OpQ8a, QuantizedRows, Rows, normal, run_op, same_q8a, steps, struct

QUANTIZE = struct("Quantize", src=OpF32, dst=OpQ8a, width=U32)


@pytest.mark.parametrize("width", [33, 256, 600])
def test_quantize(device: Native, width: int) -> None:
    x = normal(5, width)
    step, alive = steps(5)
    src, dst = Rows(x), QuantizedRows(5, width)
    run_op(device, "quantize", step, QUANTIZE(src=src.operand, dst=dst.operand, width=width))
    same_q8a(dst.q8a, reference.Q8A.of(x))
    assert alive
