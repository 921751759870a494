# SPDX-License-Identifier: Apache-2.0
"""Instructions a token beside llama.cpp's."""

from __future__ import annotations

from collections.abc import Iterator

from tools.bench import peers
from tools.bench.targets.row import Bench, Row, variant_of

PROMPT, DECODE = 64, 4
COUNTED = (
    # variant, format, most of llama.cpp's decoded token, most of its prompt token
    ("rvv256", "Q4_0", 0.22, 0.32),
    ("rvv128", "Q4_0", 0.22, None),
    ("rvv256", "Q8_0", 0.22, None),
    ("scalar", "Q4_0", 0.18, 0.20),
    ("scalar", "Q8_0", 0.26, None),
)


def rows(bench: Bench) -> Iterator[Row]:
    """Instructions a token beside llama.cpp's, as a share of them."""
    for name, kind, decode, prefill in COUNTED:
        theirs = peers.RECORDED[name, kind]
        count = bench.count(variant_of(name), kind)
        one, longer = count(1, 0), count(1, DECODE)
        found = (longer - one) / DECODE / 1e6
        note = f"{found:.2f} of {theirs[0]:.1f} M"
        yield Row(f"instructions a decoded token, {name}, {kind}", found / theirs[0], decode, note=note)
        if prefill:
            found = (count(PROMPT, 0) - one) / (PROMPT - 1) / 1e6
            note = f"{found:.2f} of {theirs[1]:.1f} M"
            yield Row(
                f"instructions a prompt token, pp {PROMPT}, {name}, {kind}", found / theirs[1], prefill, note=note
            )
