# SPDX-License-Identifier: Apache-2.0
"""The tensor table as lowering fills it; what the tensors hold is evaluated when the image is written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from host.ir.value import Vector, Weight
from host.schema.image import NO_TENSOR, TENSOR_ALIGN, Format, Layout, align, tensor_bytes


@dataclass(frozen=True)
class TensorSpec:
    """One entry of the tensor table; ``contents`` is evaluated when the image is written."""

    name: str
    format: Format
    layout: Layout
    rows: int
    cols: int
    offset: int
    contents: Weight | Vector

    @property
    def size(self) -> int:
        """Bytes in WEIGHTS."""
        return tensor_bytes(self.format, self.layout, self.rows, self.cols)


@dataclass
class Tensors:
    """The tensor table as it grows; equal contents in one format are stored once."""

    layout: Layout
    specs: list[TensorSpec] = field(default_factory=list)
    _known: dict[tuple[str, Format, Layout, int], int] = field(default_factory=dict)
    _end: int = 0

    def matrix(self, weight: Weight, fmt: Format) -> int:
        """Index of a tiled weight. Floats have one order for both kernel families."""
        layout = Layout.RVV if fmt in (Format.F32, Format.BF16) else self.layout
        return self._add(weight.name, fmt, layout, weight.rows, weight.cols, weight)

    def plain(self, weight: Weight, fmt: Format) -> int:
        """Index of a row-major table."""
        return self._add(weight.name, fmt, Layout.PLAIN, weight.rows, weight.cols, weight)

    def vector(self, vector: Vector | None, size: int = 0) -> int:
        """Index of a vector, padded with zeros to ``size``; NO_TENSOR for None."""
        if vector is None:
            return NO_TENSOR
        if size > len(vector.values):
            vector = Vector(vector.name, np.pad(vector.values, (0, size - len(vector.values))))
        return self._add(vector.name, Format.F32, Layout.PLAIN, 1, len(vector.values), vector)

    def _add(self, name: str, fmt: Format, layout: Layout, rows: int, cols: int, contents: Weight | Vector) -> int:
        key = (contents.key, fmt, layout, rows)
        if key not in self._known:
            spec = TensorSpec(name, fmt, layout, rows, cols, self._end, contents)
            self._known[key] = len(self.specs)
            self.specs.append(spec)
            self._end = align(self._end + spec.size, TENSOR_ALIGN)
        return self._known[key]
