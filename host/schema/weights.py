# SPDX-License-Identifier: Apache-2.0
"""What a weight format is: how rows of a weight are stored, in which order kernels read them, what they stand for.

Two kinds: `FloatFormat` stores each weight as a float, `GroupFormat` groups of 32 columns as integers with a scale. The
formats themselves are in host/schema/formats.

A tiled tensor is [tile of 64 rows][record]: a record is one column of the tile in a float format and one group of 32
columns in the others. Rows are padded to 64 and columns to whole records with weights of 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from host.schema.bf16 import from_bf16
from host.schema.image import GROUP, TENSOR_ALIGN, TILE_ROWS, Format, Layout, align
from host.schema.tiles import turned

F32Array = npt.NDArray[np.float32]
I8Array = npt.NDArray[np.int8]
I64Array = npt.NDArray[np.int64]
U8Array = npt.NDArray[np.uint8]
U16Array = npt.NDArray[np.uint16]
Groups = tuple[I8Array, U16Array, U16Array | None]
"""Integers int8 [n][32], bf16 scales [n], and bf16 minima [n] in a format that has them."""

TAIL_BYTES = TILE_ROWS * 2
"""A scale, a minimum or a sum of each row of a tile."""
CHUNK_GROUPS = 8192
"""Groups quantized at once: 1 MiB of f32, so that a search stays in cache."""


class Rows(ABC):
    """Rows of a weight in one format, not yet packed."""

    @abstractmethod
    def take(self, order: I64Array) -> Rows:
        """The rows ``order``."""

    @abstractmethod
    def joined(self, others: Sequence[Rows]) -> Rows:
        """These rows and those of ``others``, which have the same format and width."""

    @abstractmethod
    def float32(self, cols: int) -> F32Array:
        """What the rows stand for, f32 [rows][cols]."""

    @abstractmethod
    def pack(self, layout: Layout) -> U8Array:
        """The bytes of a tensor of these rows; its rows are padded to whole tiles here."""


@dataclass(frozen=True)
class Twin:
    """A GGML block type whose blocks a format takes over as they are."""

    kind: str
    floats: int
    """How many f16 numbers a block begins with."""
    read: Callable[[F32Array, U8Array], Groups]
    """Blocks: their f16 numbers, f32 [n][floats], and the bytes behind them, uint8 [n][bytes]."""
    fits: Callable[[U8Array], bool] | None = None
    """Whether blocks with these bytes behind their numbers can be taken over; None: all of them."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class WeightFormat(ABC):
    """One way to store a weight. Ids are in images and are never used again."""

    name: str
    id: int
    bits: int
    """Of a weight's own value, without scales."""
    error: float
    """Root mean square of what quantizing changes, over that of the weights, at most: where these are normal."""
    layouts: tuple[Layout, ...]
    """The orders in which it can be stored, first the one for boards whose own it lacks."""
    activations: Format
    """What a row is stored as that is multiplied with it: F32 or Q8A."""
    columns: int
    """Of a record."""
    suits: tuple[str, ...] = ()
    """GGML types whose values this format holds best."""
    twin: Twin | None = None
    """The GGML type whose blocks it takes over as they are."""

    def __repr__(self) -> str:
        return self.name

    @abstractmethod
    def record_bytes(self, layout: Layout) -> int:
        """Bytes of one record; of one value where the layout is PLAIN."""

    @abstractmethod
    def quantize(self, x: F32Array) -> Rows:
        """Finite f32 [rows][cols] in this format. Raises OverflowError where a value is beyond what it can hold."""

    @abstractmethod
    def unpack(self, data: U8Array, layout: Layout, rows: int, cols: int) -> Rows:
        """The inverse of `Rows.pack`; columns may still be padded."""

    def takes(self, data: U8Array) -> bool:  # noqa: ARG002
        """Whether these blocks of the twin, uint8 [rows][bytes a row], can be taken over as they are."""
        return False

    def from_blocks(self, data: U8Array) -> Rows | None:  # noqa: ARG002
        """Blocks of the twin, uint8 [rows][bytes a row], as they are; None where `takes` says no."""
        return None

    def layout_for(self, preferred: Layout) -> Layout:
        """The order of a matrix for what reads ``preferred`` best: that, else its kernels' own, else the first."""
        return next((one for one in (preferred, preferred.order) if one in self.layouts), self.layouts[0])

    def tensor_bytes(self, layout: Layout, rows: int, cols: int) -> int:
        """Bytes of a tensor in WEIGHTS."""
        record = self.record_bytes(layout)
        if layout == Layout.PLAIN:
            return rows * align(cols * record, TENSOR_ALIGN)
        return align(rows, TILE_ROWS) // TILE_ROWS * (align(cols, self.columns) // self.columns) * record


def _padded(values: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """``values`` [n][...] with rows of zeros behind them, ``rows`` in all."""
    if len(values) == rows:
        return np.ascontiguousarray(values)
    padded = np.zeros((rows, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded


# ---- floats ----


@dataclass(frozen=True)
class FloatRows(Rows):
    """Rows of a float format. ``values`` f32 [rows][cols], not yet rounded."""

    format: FloatFormat
    values: F32Array

    def take(self, order: I64Array) -> FloatRows:
        """As `Rows.take`."""
        return FloatRows(self.format, self.values[order])

    def joined(self, others: Sequence[Rows]) -> FloatRows:
        """As `Rows.joined`."""
        parts = [self, *(other for other in others if isinstance(other, FloatRows))]
        return FloatRows(self.format, np.concatenate([part.values for part in parts]))

    def float32(self, cols: int) -> F32Array:
        """The values, rounded to what is stored."""
        return self.format.load(self.format.store(self.values[:, :cols]))

    def pack(self, layout: Layout) -> U8Array:
        """Tiles of columns; PLAIN: row after row, each padded to 64 bytes."""
        rows, cols = self.values.shape
        if layout == Layout.PLAIN:
            stored = self.format.store(self.values)
            out = np.zeros((rows, align(stored.shape[1] * stored.itemsize, TENSOR_ALIGN)), np.uint8)
            out[:, : cols * stored.itemsize] = stored.view(np.uint8).reshape(rows, -1)
            return out.reshape(-1)
        stored = _padded(self.format.store(self.values), align(rows, TILE_ROWS))
        return turned(stored.reshape(-1, TILE_ROWS, cols)).reshape(-1).view(np.uint8)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FloatFormat(WeightFormat):
    """Each weight is a float. A record is 64 rows of one column; both kernel families read this one order.

    store: f32 to stored values, little-endian, the shape kept, rounded to nearest even. load: the way back, exact.
    largest: the greatest magnitude that can be stored; None: all of f32.
    """

    store: Callable[[F32Array], npt.NDArray[np.generic]]
    load: Callable[[npt.NDArray[np.generic]], F32Array]
    dtype: str
    """Of a stored value."""
    largest: float | None = None
    layouts: tuple[Layout, ...] = (Layout.RVV, Layout.PLAIN)
    activations: Format = Format.F32
    columns: int = 1

    def record_bytes(self, layout: Layout) -> int:
        """64 values, or one."""
        return self.bits // 8 * (1 if layout == Layout.PLAIN else TILE_ROWS)

    def quantize(self, x: F32Array) -> FloatRows:
        """The values themselves: they are rounded when they are packed."""
        if self.largest is not None and (np.abs(x) > self.largest).any():
            raise OverflowError(self.name)
        return FloatRows(self, x)

    def unpack(self, data: U8Array, layout: Layout, rows: int, cols: int) -> FloatRows:
        """The inverse of `FloatRows.pack`."""
        if layout == Layout.PLAIN:
            row = np.ascontiguousarray(data.reshape(rows, -1)[:, : cols * self.bits // 8])
            return FloatRows(self, self.load(row.view(self.dtype)))
        tiles = self.load(data.view(self.dtype)).reshape(-1, cols, TILE_ROWS).transpose(0, 2, 1)
        return FloatRows(self, np.ascontiguousarray(tiles.reshape(-1, cols)[:rows]))


# ---- groups ----


@dataclass(frozen=True)
class Quantized(Rows):
    """Rows of a group format, columns padded to whole groups with zeros.

    ``q`` int8 [rows][padded cols]; ``scales`` and ``minima`` bf16 [rows][groups], minima where the format has them.
    """

    format: GroupFormat
    q: I8Array
    scales: U16Array
    minima: U16Array | None

    def take(self, order: I64Array) -> Quantized:
        """As `Rows.take`."""
        minima = None if self.minima is None else self.minima[order]
        return Quantized(self.format, self.q[order], self.scales[order], minima)

    def joined(self, others: Sequence[Rows]) -> Quantized:
        """As `Rows.joined`."""
        parts = [self, *(other for other in others if isinstance(other, Quantized))]
        minima = [part.minima for part in parts if part.minima is not None]
        return Quantized(
            self.format,
            np.concatenate([part.q for part in parts]),
            np.concatenate([part.scales for part in parts]),
            np.concatenate(minima) if minima else None,
        )

    def float32(self, cols: int) -> F32Array:
        """Integers times scales, plus minima: each operation rounded to f32."""
        rows, groups = self.scales.shape
        w = self.q.reshape(rows, groups, GROUP).astype(np.float32) * from_bf16(self.scales)[:, :, None]
        if self.minima is not None:
            w = w + from_bf16(self.minima)[:, :, None]
        return np.ascontiguousarray(w.reshape(rows, -1)[:, :cols])

    def pack(self, layout: Layout) -> U8Array:
        """Tiles of records."""
        count, groups = self.scales.shape
        tiles = align(count, TILE_ROWS) // TILE_ROWS
        q = _padded(self.q, tiles * TILE_ROWS).reshape(tiles, TILE_ROWS, groups, GROUP)
        out = np.empty((tiles, groups, self.format.record_bytes(layout)), np.uint8)
        tails: list[npt.NDArray[np.integer]] = [_by_tile(self.scales, tiles)]
        tails += [] if self.minima is None else [_by_tile(self.minima, tiles)]
        tails += self.format.sums(q, layout)
        at = out.shape[2] - len(tails) * TAIL_BYTES
        out[:, :, :at] = self.format.pack_values(q, layout).reshape(tiles, groups, at)
        for tail in tails:
            stored = np.ascontiguousarray(tail).astype(tail.dtype.newbyteorder("<")).view(np.uint8)
            out[:, :, at : at + TAIL_BYTES] = stored.reshape(tiles, groups, -1)
            at += TAIL_BYTES
        return out.reshape(-1)


def _by_tile(values: U16Array, tiles: int) -> U16Array:
    """[rows][groups] as [tile][group][64], rows padded with 0."""
    groups = values.shape[1]
    return _padded(values, tiles * TILE_ROWS).reshape(tiles, TILE_ROWS, groups).transpose(0, 2, 1)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class GroupFormat(WeightFormat):
    """Groups of 32 columns of a row are integers ``q`` in low..high with a bf16 scale ``s``, perhaps a minimum ``m``.

    A weight is q * s, or q * s + m. Scales and minima are rounded to bf16 first and the integers chosen against the
    rounded ones. A record is the values of 64 rows, then their 64 scales, then their 64 minima, then what `sums` adds.
    """

    low: int
    high: int
    has_minimum: bool = False
    layouts: tuple[Layout, ...] = (Layout.RVV, Layout.SWAR)
    activations: Format = Format.Q8A
    columns: int = GROUP

    @abstractmethod
    def quantize_groups(self, x: F32Array) -> Groups:
        """Finite f32 [n][32] as integers, scales and minima."""

    @abstractmethod
    def pack_values(self, q: I8Array, layout: Layout) -> U8Array:
        """The values of [tile][64][group][32] integers as [tile][group][...] bytes."""

    @abstractmethod
    def unpack_values(self, body: U8Array, layout: Layout) -> I8Array:
        """The inverse of `pack_values`: [tile][group][value bytes] as [tile][64][group][32] integers."""

    def sums(self, q: I8Array, layout: Layout) -> list[npt.NDArray[np.int16]]:  # noqa: ARG002
        """What a record holds behind scales and minima, each [tile][group][64]: nothing, unless kernels ask for it."""
        return []

    @property
    def value_bytes(self) -> int:
        """Bytes of a record's values."""
        return TILE_ROWS * GROUP * self.bits // 8

    def record_bytes(self, layout: Layout) -> int:
        """The values of 64 rows and what stands behind them."""
        nothing = np.zeros((1, TILE_ROWS, 1, GROUP), np.int8)
        return self.value_bytes + (1 + self.has_minimum + len(self.sums(nothing, layout))) * TAIL_BYTES

    def quantize(self, x: F32Array) -> Quantized:
        """Groups by `quantize_groups`; padding becomes 0 and does not widen a range."""
        rows, cols = x.shape
        padded = align(cols, GROUP)
        if padded != cols:
            x = np.pad(x, ((0, 0), (0, padded - cols)))
        groups = x.reshape(-1, GROUP)
        q = np.empty(groups.shape, np.int8)
        scales = np.empty(len(groups), np.uint16)
        minima = np.empty(len(groups), np.uint16) if self.has_minimum else None
        for start in range(0, len(groups), CHUNK_GROUPS):
            at = slice(start, start + CHUNK_GROUPS)
            part = np.ascontiguousarray(groups[at], np.float32)
            if self.has_minimum and cols % GROUP:
                _fill_ragged(part, start, padded // GROUP, cols % GROUP)
            q[at], scales[at], least = self.quantize_groups(part)
            if minima is not None and least is not None:
                minima[at] = least
        shape = (rows, padded // GROUP)
        q = q.reshape(rows, padded)
        q[:, cols:] = 0
        return Quantized(self, q, scales.reshape(shape), None if minima is None else minima.reshape(shape))

    def unpack(self, data: U8Array, layout: Layout, rows: int, cols: int) -> Quantized:
        """The inverse of `Quantized.pack`; columns stay padded to whole groups."""
        groups, tiles = align(cols, GROUP) // GROUP, align(rows, TILE_ROWS) // TILE_ROWS
        records = data.reshape(tiles, groups, self.record_bytes(layout))

        def tail(index: int) -> U16Array:
            at = self.value_bytes + index * TAIL_BYTES
            values = np.ascontiguousarray(records[:, :, at : at + TAIL_BYTES]).view("<u2")
            by_row = values.reshape(tiles, groups, TILE_ROWS).transpose(0, 2, 1).reshape(-1, groups)
            return np.ascontiguousarray(by_row[:rows].astype(np.uint16))

        q = self.unpack_values(np.ascontiguousarray(records[:, :, : self.value_bytes]), layout)
        q = np.ascontiguousarray(q.reshape(-1, groups * GROUP)[:rows])
        return Quantized(self, q, tail(0), tail(1) if self.has_minimum else None)

    def from_blocks(self, data: U8Array) -> Quantized | None:
        """By `Twin.read`."""
        if self.twin is None or not self.takes(data):
            return None
        blocks, shape = self._split(data), (data.shape[0], -1)
        floats = np.ascontiguousarray(blocks[0]).view("<f2").astype(np.float32)
        q, scales, minima = self.twin.read(floats, blocks[1])
        return Quantized(
            self, q.reshape(shape), scales.reshape(shape), None if minima is None else minima.reshape(shape)
        )

    def takes(self, data: U8Array) -> bool:
        """By `Twin.fits`."""
        return self.twin is not None and (self.twin.fits is None or self.twin.fits(self._split(data)[1]))

    def _split(self, data: U8Array) -> tuple[U8Array, U8Array]:
        """The numbers that blocks begin with, and what is behind them: uint8 [n][bytes] both."""
        head = 0 if self.twin is None else 2 * self.twin.floats
        blocks = data.reshape(-1, head + GROUP * self.bits // 8)
        return blocks[:, :head], blocks[:, head:]


def _fill_ragged(part: F32Array, start: int, per_row: int, used: int) -> None:
    """Padding takes the value of the group's last column, lest its zero widen the range."""
    last = (np.arange(start, start + len(part)) % per_row) == per_row - 1
    part[last, used:] = part[last, used - 1 : used]
