# SPDX-License-Identifier: Apache-2.0
"""A weight of the graph to the bytes of its tensor, in pieces, on all processors; only pieces are in memory.

A piece is so many whole tiles, whatever the number of processors, and no row depends on another: the bytes are always
the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from host.errors import SourceError
from host.files.source import RawTensor, RowChoice
from host.ir.value import Weight
from host.schema.image import TILE_ROWS, Layout, align
from host.schema.weights import F32Array, Rows, WeightFormat

U8Array = npt.NDArray[np.uint8]
I64Array = npt.NDArray[np.int64]

BATCH_VALUES = 1 << 18
"""Values packed at a time: 1 MiB of f32, so that what one step leaves the next one finds in cache."""
AHEAD = 2
"""Pieces begun or ready, for each processor."""


def encode_weight(weight: Weight, fmt: WeightFormat, layout: Layout) -> Iterator[U8Array]:
    """Pieces of the tensor's bytes, in order. SourceError where a value cannot be stored, naming the tensor."""
    batch = _batch_rows(weight, fmt)
    passed = tuple(_passes(part, fmt, batch) for part in weight.parts)

    def piece(start: int) -> U8Array:
        return _rows(weight, fmt, passed, start, min(start + batch, weight.rows)).pack(layout)

    return _in_order([partial(piece, start) for start in range(0, weight.rows, batch)])


def weight_rows(weight: Weight, fmt: WeightFormat) -> Rows:
    """All of the weight's rows in format ``fmt``: stored blocks as they are where they fit, else quantized from f32."""
    passed = tuple(_passes(part, fmt, _batch_rows(weight, fmt)) for part in weight.parts)
    return _rows(weight, fmt, passed, 0, weight.rows)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(work: list[Callable[[], U8Array]]) -> Iterator[U8Array]:
    """The results of ``work`` one after the other, while all processors are at the next ones."""
    count = min(processors(), len(work))
    if count <= 1:
        yield from (each() for each in work)
        return
    begun: deque[Future[U8Array]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for each in work:
                begun.append(pool.submit(each))
                if len(begun) == AHEAD * count:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for each_begun in begun:
                each_begun.cancel()


def _batch_rows(weight: Weight, fmt: WeightFormat) -> int:
    return max(BATCH_VALUES // align(weight.cols, fmt.columns) // TILE_ROWS, 1) * TILE_ROWS


def _passes(part: RawTensor, fmt: WeightFormat, batch: int) -> bool:
    """Whether the part's stored blocks are taken over as they are: all of them or none."""
    if fmt.twin is None or fmt.twin.kind != _kind(part):
        return False
    pieces = (part.rows(slice(at, at + batch)).blocks() for at in range(0, part.shape[0], batch))
    return fmt.twin.fits is None or all(blocks is not None and fmt.takes(blocks.data) for blocks in pieces)


def _kind(part: RawTensor) -> str | None:
    first = part.rows(slice(0, 1)).blocks()
    return None if first is None else first.kind


def _rows(weight: Weight, fmt: WeightFormat, passed: tuple[bool, ...], start: int, stop: int) -> Rows:
    """Logical rows ``start`` to ``stop`` in format ``fmt``; ``passed``: which parts' blocks are taken over."""
    ends = np.cumsum([part.shape[0] for part in weight.parts])
    order = np.arange(start, stop) if weight.order is None else weight.order[start:stop]
    owner = np.searchsorted(ends, order, side="right")
    found: list[Rows] = []
    try:
        for index in np.unique(owner):
            part = weight.parts[index]
            chosen = part.rows(_as_range(order[owner == index] - (ends[index] - part.shape[0])))
            blocks = chosen.blocks() if passed[index] and weight.column_scale is None else None
            taken = None if blocks is None else fmt.from_blocks(blocks.data)
            found.append(fmt.quantize(_values(weight, chosen)) if taken is None else taken)
    except OverflowError as error:
        raise SourceError(
            f"{weight.provenance} has values beyond what {fmt.name} can hold; pack with --weights f32 or q8"
        ) from error
    if len(found) == 1:
        return found[0]
    return found[0].joined(found[1:]).take(np.argsort(np.argsort(owner, kind="stable"), kind="stable"))


def _as_range(rows: I64Array) -> RowChoice:
    """A range where the rows are one: its values need no copy."""
    first = int(rows[0])
    return slice(first, first + len(rows)) if (np.diff(rows) == 1).all() else rows


def _values(weight: Weight, chosen: RawTensor) -> F32Array:
    values = chosen.float32()
    if weight.column_scale is None:
        return values
    with np.errstate(over="ignore"):
        scaled = values * weight.column_scale
    if not np.isfinite(scaled).all():
        raise SourceError(
            f"{weight.provenance} leaves the range of f32 when the norm is folded in; pack with --without fold_norms"
        )
    return scaled
