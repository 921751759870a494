# SPDX-License-Identifier: Apache-2.0
"""POOL: one row out of those of a sequence, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from host.ops.pool import PoolKind
from host.schema.image import Domain
from tests.support.native import Native
from tests.support.ops import F32, U32, OpF32, Rows, make_step, normal, run_op, same, struct

POOL = struct("Pool", src=OpF32, dst=OpF32, kinds=U32, count=U32, width=U32)
f32 = np.float32


def expected(x: F32, kind: PoolKind) -> F32:
    """The rule of numerics.md: rows ascending, in f32."""
    if kind in (PoolKind.FIRST, PoolKind.LAST):
        return np.asarray(x[0 if kind == PoolKind.FIRST else -1])
    if kind == PoolKind.MAX:
        return np.asarray(x.max(axis=0))
    total, n = x[0], f32(len(x))
    for i, row in enumerate(x[1:].astype(np.float64), 2):
        total = (total + row * (i if kind == PoolKind.WEIGHTED_MEAN else 1)).astype(f32)  # exact, then rounded once
    divisor = {PoolKind.MEAN: n, PoolKind.MEAN_SQRT: np.sqrt(n), PoolKind.WEIGHTED_MEAN: n * (n + f32(1)) * f32(0.5)}
    return np.asarray(total / divisor[kind])


@pytest.mark.parametrize("kinds", [*([kind] for kind in PoolKind), [PoolKind.FIRST, PoolKind.MEAN], list(PoolKind)])
def test_pool(device: Native, kinds: list[PoolKind]) -> None:
    """Two sequences in one step, their rows in turns; one result of each is wanted."""
    x = normal(9, 100)
    owners = [0, 1, 0, 0, 1, 0, 1, 0, 0]
    counts = [0, 0]
    rows = []
    for owner in owners:
        rows.append((owner, counts[owner], 0))
        counts[owner] += 1
    step, alive = make_step(rows, logit_rows=[6, 8])
    src, dst = Rows(x), Rows(rows=2, width=100 * len(kinds))
    mask = sum(1 << kind for kind in kinds)
    run_op(device, "pool", step, POOL(src.operand, dst.operand, mask, len(kinds), 100), Domain.LOGIT_ROWS)
    for at, session in enumerate((1, 0)):
        own = x[[i for i, owner in enumerate(owners) if owner == session]]
        same(dst.values[at], np.concatenate([expected(own, kind) for kind in kinds]))
    assert dst.untouched
    assert alive
