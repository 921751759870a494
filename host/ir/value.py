# SPDX-License-Identifier: Apache-2.0
"""What a graph computes with: weights, small vectors and values.

Values are rows of numbers (one row per token of a step, or per wanted logits row). A value may be a *view*: some
columns of another one, as the queries are of a fused QKV product. Weights are references that are evaluated only when
the image is written, row block by row block, so that a pass can concatenate, interleave or select rows of tensors of
any size, and blocks that a GGUF stores in 4 or 8 bits still reach the image as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from host.files.source import RawTensor
from host.schema.image import Domain, Format

F32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Weight:
    """Rows of one or more source tensors of equal width, in a given order, optionally with scaled columns.

    ``order`` holds indices into the concatenation of ``parts``' rows (None: all of them, as they are).
    ``column_scale`` [cols] multiplies the columns: a norm's weight that was folded in.
    """

    name: str
    parts: tuple[RawTensor, ...]
    order: npt.NDArray[np.int64] | None = None
    column_scale: F32Array | None = None

    @property
    def rows(self) -> int:
        """Logical rows (outputs)."""
        return sum(part.shape[0] for part in self.parts) if self.order is None else len(self.order)

    @property
    def cols(self) -> int:
        """Logical columns (inputs)."""
        return self.parts[0].shape[1]

    @property
    def key(self) -> str:
        """Equal for weights with equal contents by construction: such weights are stored once."""
        digest = hashlib.sha256("\0".join(part.name for part in self.parts).encode())
        for array in (self.order, self.column_scale):
            digest.update(b"-" if array is None else array.tobytes())
        return digest.hexdigest()

    @property
    def provenance(self) -> str:
        """In words, where the rows come from."""
        joined = " + ".join(part.name for part in self.parts)
        text = joined if self.order is None else f"{self.rows} rows of ({joined})"
        return text if self.column_scale is None else f"{text} * folded norm"

    def take(self, name: str, order: npt.NDArray[np.int64]) -> Weight:
        """The rows ``order`` of this weight, as a weight."""
        composed = order if self.order is None else self.order[order]
        return replace(self, name=name, order=composed)

    def scaled(self, scale: F32Array) -> Weight:
        """The weight with its columns multiplied by ``scale`` [cols]."""
        both = scale if self.column_scale is None else (self.column_scale * scale).astype(np.float32)
        return replace(self, column_scale=both)

    def float32(self) -> F32Array:
        """All rows as f32 [rows][cols]."""
        parts = [part.float32() for part in self.parts]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.order is not None:
            whole = whole[self.order]
        return whole if self.column_scale is None else whole * self.column_scale

    @staticmethod
    def concat(name: str, weights: Sequence[Weight]) -> Weight:
        """The rows of all ``weights`` one after the other. Their column scales must be the same."""
        parts: list[RawTensor] = []
        orders: list[npt.NDArray[np.int64]] = []
        base = 0
        for weight in weights:
            rows = sum(part.shape[0] for part in weight.parts)
            orders.append(base + (np.arange(rows) if weight.order is None else weight.order))
            parts += weight.parts
            base += rows
        plain = all(weight.order is None for weight in weights)
        return Weight(name, tuple(parts), None if plain else np.concatenate(orders), weights[0].column_scale)


@dataclass(frozen=True, eq=False)
class Vector:
    """A small f32 vector (bias, norm weight, frequencies), held in memory."""

    name: str
    values: F32Array

    @property
    def key(self) -> str:
        """Equal for vectors with equal contents."""
        return hashlib.sha256(self.values.tobytes()).hexdigest()


@dataclass(eq=False)
class Value:
    """Rows of ``width`` numbers. A view has a ``base`` and starts at its column ``col``."""

    name: str
    width: int
    domain: Domain = Domain.ROWS
    format: Format = Format.F32
    base: Value | None = None
    col: int = 0

    @property
    def root(self) -> Value:
        """The value that owns the storage."""
        return self if self.base is None else self.base.root

    @property
    def root_col(self) -> int:
        """First column within ``root``."""
        return self.col if self.base is None else self.col + self.base.root_col
