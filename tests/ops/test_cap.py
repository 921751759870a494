# SPDX-License-Identifier: Apache-2.0
"""CAP: cap * tanh(x / cap), bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from host.compiler.compile import Options, compile_model
from host.errors import SourceError
from tests.support import reference
from tests.support.family_rows import tiny_model
from tests.support.native import Native
from tests.support.ops import FLOAT, U32, OpF32, Rows, normal, run_op, same, spread, steps, struct

CAP = struct("Cap", src=OpF32, dst=OpF32, width=U32, cap=FLOAT)


@pytest.mark.parametrize("most", [30.0, 0.1])
def test_cap(device: Native, most: float) -> None:
    x = np.concatenate([normal(4, 100), spread(12, 200).reshape(4, 100)], axis=1)
    x[0, :4] = [0.0, -0.0, np.inf, -np.inf]
    src, dst = Rows(x), Rows(rows=4, width=200)
    step, alive = steps(4)
    run_op(device, "cap", step, CAP(src.operand, dst.operand, 200, most))
    same(dst.values, np.float32(most) * reference.tanh(x / np.float32(most)))
    assert dst.untouched
    assert alive
    run_op(device, "cap", step, CAP(src.operand, src.operand, 200, most))
    same(src.values, dst.values)


def test_a_cap_that_the_firmware_refuses_is_not_packed() -> None:
    with pytest.raises(SourceError, match="cap 1e-05"):
        compile_model(tiny_model("gemma2", final_logit_softcapping=1e-5), Options())
