# SPDX-License-Identifier: Apache-2.0
"""One stored tensor: a slice of a mapped file, decoded to f32 or handed out as blocks when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, quants
from gguf.constants import GGML_QUANT_SIZES

from host.errors import SourceError
from host.files.source import Blocks, RowChoice
from host.schema.bf16 import from_bf16
from host.schema.formats import format_for_blocks

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def _f8_e5m2(raw: Bytes) -> Floats:
    """E5M2 is the upper half of an IEEE binary16."""
    return (raw.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _f8_e4m3(raw: Bytes) -> Floats:
    """E4M3FN: bias 7, no infinities, S.1111.111 is NaN (OCP 8-bit floating point specification, 1.0)."""
    code = np.arange(256)
    exponent, fraction = (code >> 3) & 15, code & 7
    value = np.where(exponent == 0, fraction * 2.0**-9, (8 + fraction) * 2.0 ** (exponent - 10.0))
    value = np.where((code & 127) == 127, np.nan, value) * np.where(code & 128, -1.0, 1.0)
    return value.astype(np.float32)[raw]


PLAIN: dict[str, tuple[int, Callable[[Bytes], Any]]] = {
    "F64": (8, lambda raw: raw.view("<f8").astype(np.float32)),
    "F32": (4, lambda raw: raw.view("<f4").astype(np.float32)),
    "F16": (2, lambda raw: raw.view("<f2").astype(np.float32)),
    "BF16": (2, lambda raw: from_bf16(raw.view("<u2"))),
    "F8_E4M3": (1, _f8_e4m3),
    "F8_E5M2": (1, _f8_e5m2),
}
"""Element formats by name: bytes an element, and how they become f32."""


def block_size(kind: str) -> tuple[int, int]:
    """Elements and bytes of one block of a format. Raises KeyError for one that nobody can decode."""
    if kind in PLAIN:
        return 1, PLAIN[kind][0]
    known = GGMLQuantizationType[kind]
    if known not in quants._type_traits:
        raise KeyError(kind)
    elements, size = GGML_QUANT_SIZES[known]
    return int(elements), int(size)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file. ``raw`` is its bytes, uint8 [n], still in the map; ``stored`` its row-major shape there.

    ``transposed`` turns a two-dimensional tensor; ``order``, where not None, is the stored row of each canonical row.
    """

    name: str
    kind: str
    stored: tuple[int, ...]
    raw: Bytes
    transposed: bool = False
    order: npt.NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The canonical shape, in Hugging Face terms."""
        return self.stored[::-1] if self.transposed else self.stored

    def rows(self, which: RowChoice) -> StoredTensor:
        """These rows of a matrix, canonical ones, as a tensor; a range of stored rows stays in the map."""
        if self.transposed:
            cells = self.raw.reshape(*self.stored, block_size(self.kind)[1])[:, which]
            return replace(self, stored=cells.shape[:2], raw=cells.reshape(-1))
        raw = self.raw.reshape(self.stored[0], -1)[which if self.order is None else self.order[which]]
        return replace(self, stored=(len(raw), *self.stored[1:]), raw=raw.reshape(-1), order=None)

    def float32(self) -> Floats:
        """The whole tensor in f32, shape ``shape``. Raises SourceError on NaN or infinity."""
        with np.errstate(all="ignore"):
            values = self._decode().reshape(self.stored)
        if not np.isfinite(values).all():
            raise self._not_finite(int(np.count_nonzero(~np.isfinite(values))))
        if self.transposed:
            values = np.ascontiguousarray(values.T)
        return values if self.order is None else values[self.order]

    def blocks(self) -> Blocks | None:
        """Stored blocks, uint8 [rows][bytes a row], of a type that a weight format takes over as it is; else None.

        Raises SourceError on NaN or infinity.
        """
        taker = format_for_blocks(self.kind)
        if taker is None or taker.twin is None or self.transposed or len(self.stored) != 2:
            return None
        data = self.raw.reshape(self.stored[0], -1)
        per_block = data.reshape(-1, block_size(self.kind)[1])
        scales = np.ascontiguousarray(per_block[:, : 2 * taker.twin.floats]).view("<f2")
        if not np.isfinite(scales).all():
            raise self._not_finite(int(np.count_nonzero(~np.isfinite(scales))))
        return Blocks(self.kind, np.ascontiguousarray(data if self.order is None else data[self.order]))

    def _decode(self) -> Floats:
        if self.kind in PLAIN:
            return np.asarray(PLAIN[self.kind][1](self.raw), dtype=np.float32)
        elements, size = block_size(self.kind)
        row_bytes = self.stored[-1] // elements * size
        decoded = quants.dequantize(self.raw.reshape(-1, row_bytes), GGMLQuantizationType[self.kind])
        return np.asarray(decoded, dtype=np.float32)

    def _not_finite(self, count: int) -> SourceError:
        return SourceError(
            f"tensor {self.name} holds {count} or more values that are NaN or infinite; the file is damaged or the "
            "training diverged, so take another export of the model"
        )
