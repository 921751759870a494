# SPDX-License-Identifier: Apache-2.0
"""A weight of the graph to the bytes of its tensor, in pieces; little more than one weight is in memory at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from host.errors import SourceError
from host.ir.value import Weight
from host.quant.layout import pack_float, pack_plain, pack_quantized
from host.quant.quantize import Quantized, from_blocks, quantize
from host.schema.image import TILE_ROWS, Format, Layout

BATCH_VALUES = 1 << 22
"""Values packed at a time; bounds the temporaries of a large matrix."""
BF16_LARGEST = np.float32(3.3895314e38)


def encode_weight(weight: Weight, fmt: Format, layout: Layout) -> Iterator[npt.NDArray[np.uint8]]:
    """Pieces of the tensor's bytes, in order. SourceError where a value cannot be stored, naming the tensor."""
    if fmt in (Format.F32, Format.BF16):
        yield from _encode_float(weight, fmt, layout)
        return
    rows = quantized_rows(weight, fmt)
    batch = max(BATCH_VALUES // rows.q.shape[1] // TILE_ROWS, 1) * TILE_ROWS
    for start in range(0, weight.rows, batch):
        yield pack_quantized(rows.take(np.arange(start, min(start + batch, weight.rows))), layout)


def quantized_rows(weight: Weight, fmt: Format) -> Quantized:
    """The weight's rows in format ``fmt``: stored blocks as they are where they fit, else quantized from f32."""
    parts = []
    for part in weight.parts:
        blocks = part.blocks() if weight.column_scale is None else None
        passed = from_blocks(blocks, part.name) if blocks is not None else None
        if passed is None or passed.format != fmt:
            values = part.float32()
            passed = quantize(values if weight.column_scale is None else values * weight.column_scale, fmt)
        parts.append(passed)
    whole = Quantized.concat(parts)
    return whole if weight.order is None else whole.take(weight.order)


def _encode_float(weight: Weight, fmt: Format, layout: Layout) -> Iterator[npt.NDArray[np.uint8]]:
    values = weight.float32()
    if fmt == Format.BF16 and (np.abs(values) > BF16_LARGEST).any():
        raise SourceError(f"{weight.provenance} has values beyond what bf16 can hold; pack with --weights f32 or q8")
    if layout == Layout.PLAIN:
        yield pack_plain(values, fmt)
        return
    batch = max(BATCH_VALUES // values.shape[1] // TILE_ROWS, 1) * TILE_ROWS
    for start in range(0, len(values), batch):
        yield pack_float(values[start : start + batch], fmt)
