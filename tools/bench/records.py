# SPDX-License-Identifier: Apache-2.0
"""Packed weights of every format for the kernel test: as the host packs them, in every layout, extremes among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from host.schema.bf16 import to_bf16
from host.schema.formats import formats
from host.schema.image import GROUP, TILE_ROWS, Layout
from host.schema.weights import GroupFormat, Quantized, Rows, WeightFormat

KINDS = ("random", "largest", "smallest", "equal", "zero", "tiny", "mixed")
"""As enum values of firmware/kernels/test/cases.c."""
BLOCKS = 3
"""Blocks of 64 rows and 32 columns of a kind."""
TINY = np.float32(2.0**-128)
F32Array = npt.NDArray[np.float32]


def _integers(rng: np.random.Generator, kind: str, low: int, high: int) -> npt.NDArray[np.int8]:
    shape = (TILE_ROWS, BLOCKS * GROUP)
    plain = {"largest": high, "smallest": low, "equal": high // 3, "zero": 0}
    if kind in plain:
        return np.full(shape, plain[kind], np.int8)
    q = rng.integers(low, high + 1, shape)
    if kind == "mixed":
        extreme = rng.choice([low, 0, high], shape)
        q = np.where(rng.random(shape) < 0.25, q, extreme)
    return q.astype(np.int8)


def _floats(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> F32Array:
    """In -1..1, or below the normal range; some of either where they are mixed."""
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    small = kind == "tiny" if kind != "mixed" else rng.random(shape) < 0.25
    return np.where(small, x * TINY, x).astype(np.float32)


def _rows(fmt: WeightFormat, kind: str) -> Rows:
    """BLOCKS * 32 columns of one tile; the same values in whichever layout they are packed."""
    rng = np.random.default_rng(KINDS.index(kind))
    if not isinstance(fmt, GroupFormat):
        return fmt.quantize(_floats(rng, kind, (TILE_ROWS, BLOCKS * GROUP)))
    q = _integers(rng, kind, fmt.low, fmt.high)
    scales, minima = (to_bf16(_floats(rng, kind, (TILE_ROWS, BLOCKS))) for _ in range(2))
    return Quantized(fmt, q, scales, minima if fmt.has_minimum else None)


def _words(data: npt.NDArray[np.uint8]) -> Sequence[str]:
    words = [f"{int(word):#x}u," for word in data.view("<u4")]
    return [" ".join(words[i : i + 8]) for i in range(0, len(words), 8)]


def records_header() -> str:
    """``TEST_RECORDS(X)``: X(name, FORMAT, LAYOUT, array) and the arrays, of all kinds one after the other."""
    lines, entries = ["/* Made by tools/bench/records.py: do not edit. */", ""], []
    lines += [f"#define TEST_BLOCKS {BLOCKS}u", ""]
    for fmt in formats().values():
        tiled = [layout for layout in fmt.layouts if layout != Layout.PLAIN]
        for layout in tiled:
            name = f"{fmt.name}_{layout.name.lower()}" if isinstance(fmt, GroupFormat) else fmt.name
            packed = np.concatenate([_rows(fmt, kind).pack(layout) for kind in KINDS])
            lines += [
                f"static const uint32_t records_{name}[] __attribute__((aligned(64))) = {{",
                *_words(packed),
                "};",
            ]
            entries.append(f"    X({name}, {fmt.name.upper()}, {layout.name}, records_{name}) \\")
    return "\n".join([*lines, "", "#define TEST_RECORDS(X) \\", *entries, ""])


def write_records(path: Path) -> None:
    """The header, at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(records_header())
