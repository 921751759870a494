# SPDX-License-Identifier: Apache-2.0
"""The tensor table as lowering fills it; what the tensors hold is evaluated when the image is written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from host.ir.value import Vector, Weight
from host.schema.formats.f32 import F32
from host.schema.image import NO_TENSOR, TENSOR_ALIGN, Layout, align
from host.schema.weights import WeightFormat


@dataclass(frozen=True)
class TensorSpec:
    """One entry of the tensor table; ``contents`` is evaluated when the image is written."""

    name: str
    format: WeightFormat
    layout: Layout
    rows: int
    cols: int
    offset: int
    contents: Weight | Vector

    @property
    def size(self) -> int:
        """Bytes in WEIGHTS."""
        return self.format.tensor_bytes(self.layout, self.rows, self.cols)


@dataclass
class Tensors:
    """The tensor table as it grows; equal contents in one format are stored once."""

    layout: Layout
    specs: list[TensorSpec] = field(default_factory=list)
    _known: dict[tuple[str, WeightFormat, Layout, int], int] = field(default_factory=dict)
    _end: int = 0

    def matrix(self, weight: Weight, fmt: WeightFormat) -> int:
        """Index of a tiled weight, in the order that the kernels read best."""
        layout = fmt.layout_for(self.layout)
        return self._add(weight.name, fmt, layout, weight.rows, weight.cols, weight)

    def plain(self, weight: Weight, fmt: WeightFormat) -> int:
        """Index of a row-major table."""
        return self._add(weight.name, fmt, Layout.PLAIN, weight.rows, weight.cols, weight)

    def vector(self, vector: Vector | None, size: int = 0) -> int:
        """Index of a vector, padded with zeros to ``size``; NO_TENSOR for None."""
        if vector is None:
            return NO_TENSOR
        if size > len(vector.values):
            vector = Vector(vector.name, np.pad(vector.values, (0, size - len(vector.values))))
        return self._add(vector.name, F32, Layout.PLAIN, 1, len(vector.values), vector)

    def _add(
        self, name: str, fmt: WeightFormat, layout: Layout, rows: int, cols: int, contents: Weight | Vector
    ) -> int:
        key = (contents.key, fmt, layout, rows)
        if key not in self._known:
            spec = TensorSpec(name, fmt, layout, rows, cols, self._end, contents)
            self._known[key] = len(self.specs)
            self.specs.append(spec)
            self._end = align(self._end + spec.size, TENSOR_ALIGN)
        return self._known[key]
