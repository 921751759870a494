# SPDX-License-Identifier: Apache-2.0
"""ROPE_TABLE against docs/numerics.md, bit for bit."""

from __future__ import annotations

import numpy as np

from tests.support import reference
from tests.support.native import Native
from tests.support.ops import FLOAT, PTR, U32, OpF32, Rows, make_step, run_op, same, struct

ROPE_TABLE = struct("RopeTable", dst=OpF32, frequencies=PTR, half=U32, scale=FLOAT)


def test_rope_table_holds_cosines_and_sines(device: Native) -> None:
    frequencies = (10000.0 ** -(np.arange(40) / 40)).astype(np.float32)
    positions = [0, 1, 77, 4095, 999_999]
    step, alive = make_step([(0, p, 0) for p in positions])
    dst = Rows(rows=5, width=80)
    run_op(
        device,
        "rope_table",
        step,
        ROPE_TABLE(dst=dst.operand, frequencies=frequencies.ctypes.data, half=40, scale=1.25),
    )
    sines, cosines = reference.sincos(np.array(positions, np.float32)[:, None] * frequencies)
    same(dst.values, np.concatenate([cosines, sines], axis=1) * np.float32(1.25))
    assert dst.untouched
    assert alive
