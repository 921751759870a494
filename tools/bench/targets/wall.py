# SPDX-License-Identifier: Apache-2.0
"""Seconds beside llama.cpp's."""

from __future__ import annotations

from collections.abc import Iterator

from tools.bench import peers
from tools.bench.targets.row import Bench, Row


def rows(bench: Bench) -> Iterator[Row]:
    """Seconds beside llama.cpp's, in turns, scalar, one thread each."""
    for found in peers.compare_seconds(bench.qemu, ["Q4_0"], 16, 16, 3, bench.source, bench.work):
        if found.ratio_of:
            note = f"{found.decode:.2f} tokens/s of {found.ratio_of.decode:.2f}"
            ratio = found.decode / found.ratio_of.decode
            yield Row(f"decode beside llama.cpp's, {found.name}", ratio, 4.0, at_least=True, note=note)
