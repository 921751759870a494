# SPDX-License-Identifier: Apache-2.0
"""A weight of the graph to the bytes of its tensor, in pieces; little more than one weight is in memory at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from host.errors import SourceError
from host.files.source import RawTensor
from host.ir.value import Weight
from host.schema.image import TILE_ROWS, Layout, align
from host.schema.weights import F32Array, Rows, WeightFormat

BATCH_VALUES = 1 << 22
"""Values packed at a time; bounds the temporaries of a large matrix."""


def encode_weight(weight: Weight, fmt: WeightFormat, layout: Layout) -> Iterator[npt.NDArray[np.uint8]]:
    """Pieces of the tensor's bytes, in order. SourceError where a value cannot be stored, naming the tensor."""
    rows = weight_rows(weight, fmt)
    batch = max(BATCH_VALUES // align(weight.cols, fmt.columns) // TILE_ROWS, 1) * TILE_ROWS
    for start in range(0, weight.rows, batch):
        yield rows.take(np.arange(start, min(start + batch, weight.rows))).pack(layout)


def weight_rows(weight: Weight, fmt: WeightFormat) -> Rows:
    """The weight's rows in format ``fmt``: stored blocks as they are where they fit, else quantized from f32."""
    try:
        first, *others = (_part_rows(part, weight.column_scale, fmt) for part in weight.parts)
    except OverflowError as error:
        raise SourceError(
            f"{weight.provenance} has values beyond what {fmt.name} can hold; pack with --weights f32 or q8"
        ) from error
    whole = first.joined(others) if others else first
    return whole if weight.order is None else whole.take(weight.order)


def _part_rows(part: RawTensor, column_scale: F32Array | None, fmt: WeightFormat) -> Rows:
    blocks = part.blocks() if column_scale is None and fmt.twin is not None else None
    if blocks is not None and fmt.twin is not None and blocks.kind == fmt.twin.kind:
        passed = fmt.from_blocks(blocks.data)
        if passed is not None:
            return passed
    values = part.float32()
    return fmt.quantize(values if column_scale is None else values * column_scale)
