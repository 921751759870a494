# SPDX-License-Identifier: Apache-2.0
"""GATHER: rows as they are, in order."""

from __future__ import annotations

from host.schema.image import Domain
from tests.support.native import Native
from tests.support.ops import U32, OpF32, Rows, make_step, normal, run_op, same, struct

GATHER = struct("Gather", src=OpF32, dst=OpF32, width=U32)


def test_gather(device: Native) -> None:
    x = normal(6, 40)
    step, alive = make_step([(0, i, 0) for i in range(6)], logit_rows=[1, 4, 5])
    src, dst = Rows(x), Rows(rows=3, width=40)
    run_op(device, "gather", step, GATHER(src=src.operand, dst=dst.operand, width=40), Domain.LOGIT_ROWS)
    same(dst.values, x[[1, 4, 5]])
    assert alive
