# SPDX-License-Identifier: Apache-2.0
"""Register work: what instructions count for, by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tools.bench.register_work import call_work, instruction_work


@pytest.mark.parametrize(
    ("name", "width", "lmul", "work"),
    [
        ("vsetvli", 8, 2, 0),
        ("vand.vi", 8, 2, 2),
        ("vwmaccsu.vx", 8, 2, 4),
        ("vfwcvt.f.x.v", 16, 4, 8),
        ("vnsrl.wi", 16, 2, 4),
        ("vwredsum.vs", 16, 4, 4),
        ("vzext.vf2", 32, 8, 8),
        ("vle16.v", 32, 8, 4),
        ("vse32.v", 8, 1, 4),
        ("vlse8.v", 8, 4, 4),
        ("vl8re8.v", 8, 1, 8),
        ("vs2r.v", 64, 8, 2),
        ("vmv4r.v", 8, 1, 4),
        ("vfmv.f.s", 32, 8, 1),
        ("vadd.vv", 8, Fraction(1, 4), 1),
    ],
)
def test_an_instruction_counts_by_what_it_moves(name: str, width: int, lmul: Fraction, work: int) -> None:
    assert instruction_work(name, width, Fraction(lmul)) == work


def test_a_call_follows_vtype() -> None:
    log = [("vsetvli", "zero, a0, e8, m2, ta, ma"), ("vle8.v", "v16, (a1)"), ("vwmaccsu.vx", "v8, t0, v16")]
    log += [("addi", "a1, a1, 64"), ("vsetivli", "zero, 4, e8, mf4, ta, ma"), ("vle32.v", "v0, (a2)")]
    assert call_work(log) == 2 + 4 + 1
