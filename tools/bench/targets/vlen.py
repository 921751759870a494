# SPDX-License-Identifier: Apache-2.0
"""Long and short vectors beside those that most boards have."""

from __future__ import annotations

from collections.abc import Iterator

from tools.bench.targets.row import Bench, Row, variant_of

PROMPT, DECODE = 64, 4


def _decoded(bench: Bench, vlen: int, kind: str) -> float:
    """M instructions of a decoded token behind an empty context."""
    count = bench.count(variant_of(f"rvv{vlen}"), kind)
    return (count(1, DECODE) - count(1, 0)) / DECODE / 1e6


def rows(bench: Bench) -> Iterator[Row]:
    """Decoded tokens beside those of VLEN 256; a q8 prompt token at VLEN 128 beside a decoded one."""
    for kind in ("Q4_0", "Q8_0"):
        base = _decoded(bench, 256, kind)
        for vlen in (512, 1024):
            found = _decoded(bench, vlen, kind)
            note = f"{found:.2f} of {base:.2f} M"
            yield Row(f"instructions a decoded token over VLEN 256's, rvv{vlen}, {kind}", found / base, 1.03, note=note)
    count = bench.count(variant_of("rvv128"), "Q8_0")
    one = count(1, 0)
    decoded = (count(1, DECODE) - one) / DECODE / 1e6
    found = (count(PROMPT, 0) - one) / (PROMPT - 1) / 1e6
    note = f"{found:.2f} of {decoded:.2f} M"
    yield Row(f"a prompt token, pp {PROMPT}, over a decoded one, rvv128, Q8_0", found / decoded, 0.75, note=note)
