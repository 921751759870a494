# SPDX-License-Identifier: Apache-2.0
"""Weight layouts: quantized rows to the bytes that kernels read, and back. docs/image-format.md, "Weight layouts".

A tiled tensor is [tile of 64 rows][group of 32 columns][record] for Q8, Q4 and Q4M and [tile][column][64 values] for
F32 and BF16, which both families read in that one order (Layout.RVV). Rows are padded to 64 and columns to 32 with
weights of 0: nibble 8, q 0, scale 0, minimum 0.

RVV, lane = row:
  Q4, Q4M  16 x 64 bytes; byte (p, r) has row r: column 2p in the low nibble, column 2p + 1 in the high one.
  Q8       [32 columns][64 rows] int8.
SWAR, four consecutive columns' lanes of one row in a 64-bit word:
  Q4, Q4M  a row is two little-endian 64-bit words; bits [16 l + 4 j, + 4) of word w are column 16 w + 4 j + l.
  Q8       a row is 32 bytes q + 128 in the order of columns.
Then for both 64 bf16 scales; Q4M: then 64 bf16 minima; SWAR Q8: then 64 int16 sums of q.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from host.quant.bf16 import from_bf16, to_bf16
from host.quant.quantize import Quantized
from host.schema.image import GROUP, TENSOR_ALIGN, TILE_ROWS, Format, Layout, align, record_bytes

U8Array = npt.NDArray[np.uint8]
F32Array = npt.NDArray[np.float32]


def pack_float(x: F32Array, fmt: Format) -> U8Array:
    """f32 [rows][cols] as tiled F32 or BF16. BF16 overflow is the caller's to exclude."""
    rows, cols = x.shape
    padded = np.zeros((align(rows, TILE_ROWS), cols), np.float32)
    padded[:rows] = x
    tiles = np.ascontiguousarray(padded.reshape(-1, TILE_ROWS, cols).transpose(0, 2, 1))
    stored = tiles.astype("<f4") if fmt == Format.F32 else to_bf16(tiles).astype("<u2")
    return stored.reshape(-1).view(np.uint8)


def unpack_float(data: U8Array, fmt: Format, rows: int, cols: int) -> F32Array:
    """The inverse of `pack_float`."""
    values = data.view("<f4") if fmt == Format.F32 else from_bf16(data.view("<u2"))
    tiles = values.reshape(-1, cols, TILE_ROWS).transpose(0, 2, 1)
    return np.ascontiguousarray(tiles.reshape(-1, cols)[:rows].astype(np.float32))


def pack_plain(x: F32Array, fmt: Format) -> U8Array:
    """f32 [rows][cols] row by row, each row padded to 64 bytes."""
    stored = x.astype("<f4") if fmt == Format.F32 else to_bf16(x).astype("<u2")
    row = stored.view(np.uint8).reshape(x.shape[0], -1)
    out = np.zeros((x.shape[0], align(row.shape[1], TENSOR_ALIGN)), np.uint8)
    out[:, : row.shape[1]] = row
    return out.reshape(-1)


def unpack_plain(data: U8Array, fmt: Format, rows: int, cols: int) -> F32Array:
    """The inverse of `pack_plain`."""
    size = cols * (4 if fmt == Format.F32 else 2)
    row = np.ascontiguousarray(data.reshape(rows, -1)[:, :size])
    return row.view("<f4").astype(np.float32) if fmt == Format.F32 else from_bf16(row.view("<u2"))


def pack_quantized(rows: Quantized, layout: Layout) -> U8Array:
    """Quantized rows as records of the layout; rows are padded to whole tiles here."""
    count, groups = rows.scales.shape
    tiles = align(count, TILE_ROWS) // TILE_ROWS
    record = record_bytes(rows.format, layout)
    out = np.zeros((tiles, groups, record), np.uint8)
    q = np.zeros((tiles * TILE_ROWS, groups * GROUP), np.int8)
    q[:count] = rows.q
    q = q.reshape(tiles, TILE_ROWS, groups, GROUP)
    body = _pack_body(q, rows.format, layout)
    tails = [_by_tile(rows.scales, tiles)]
    if rows.minima is not None:
        tails.append(_by_tile(rows.minima, tiles))
    if rows.format == Format.Q8 and layout == Layout.SWAR:
        tails.append(q.sum(axis=3, dtype=np.int16).transpose(0, 2, 1))
    at = record - len(tails) * TILE_ROWS * 2
    out[:, :, :at] = body.reshape(tiles, groups, at)
    for tail in tails:
        bytes_ = np.ascontiguousarray(tail).astype(tail.dtype.newbyteorder("<")).view(np.uint8)
        out[:, :, at : at + TILE_ROWS * 2] = bytes_.reshape(tiles, groups, -1)
        at += TILE_ROWS * 2
    return out.reshape(-1)


def _by_tile(values: npt.NDArray[np.uint16], tiles: int) -> npt.NDArray[np.uint16]:
    """[rows][groups] as [tile][group][64], rows padded with 0."""
    count, groups = values.shape
    padded = np.zeros((tiles * TILE_ROWS, groups), np.uint16)
    padded[:count] = values
    return padded.reshape(tiles, TILE_ROWS, groups).transpose(0, 2, 1)


def _pack_body(q: npt.NDArray[np.int8], fmt: Format, layout: Layout) -> U8Array:
    """The values of [tile][64][group][32] integers as [tile][group][...] bytes."""
    if fmt == Format.Q8:
        if layout == Layout.RVV:
            return np.ascontiguousarray(q.transpose(0, 2, 3, 1)).view(np.uint8)
        return np.ascontiguousarray(q.transpose(0, 2, 1, 3)).view(np.uint8) ^ np.uint8(128)
    n = (q + np.int8(8)).view(np.uint8)
    if layout == Layout.RVV:
        pairs = n[..., 0::2] | n[..., 1::2] << np.uint8(4)  # [tile][64][group][16]
        return np.ascontiguousarray(pairs.transpose(0, 2, 3, 1))
    tiles, _, groups, _ = n.shape
    lanes = n.reshape(tiles, TILE_ROWS, groups, 2, 4, 4).transpose(0, 2, 1, 3, 5, 4)  # [..][word][l][j]
    nibbles = np.ascontiguousarray(lanes).reshape(tiles, groups, TILE_ROWS, GROUP)
    return np.ascontiguousarray(nibbles[..., 0::2] | nibbles[..., 1::2] << np.uint8(4))


def unpack_quantized(data: U8Array, fmt: Format, layout: Layout, rows: int, cols: int) -> Quantized:
    """The inverse of `pack_quantized`, columns still padded to whole groups."""
    groups = align(cols, GROUP) // GROUP
    tiles = align(rows, TILE_ROWS) // TILE_ROWS
    record = record_bytes(fmt, layout)
    records = data.reshape(tiles, groups, record)
    body = TILE_ROWS * GROUP // (1 if fmt == Format.Q8 else 2)

    def tail(index: int) -> npt.NDArray[np.uint16]:
        at = body + index * TILE_ROWS * 2
        values = np.ascontiguousarray(records[:, :, at : at + TILE_ROWS * 2]).view("<u2")
        by_row = values.reshape(tiles, groups, TILE_ROWS).transpose(0, 2, 1).reshape(-1, groups)
        return np.ascontiguousarray(by_row[:rows].astype(np.uint16))

    q = _unpack_body(np.ascontiguousarray(records[:, :, :body]), fmt, layout)
    q = np.ascontiguousarray(q.reshape(-1, groups * GROUP)[:rows])
    return Quantized(fmt, q, tail(0), tail(1) if fmt == Format.Q4M else None)


def _unpack_body(body: U8Array, fmt: Format, layout: Layout) -> npt.NDArray[np.int8]:
    """[tile][group][values] bytes as [tile][64][group][32] integers."""
    tiles, groups, _ = body.shape
    if fmt == Format.Q8:
        if layout == Layout.RVV:
            return body.view(np.int8).reshape(tiles, groups, GROUP, TILE_ROWS).transpose(0, 3, 1, 2)
        return (body ^ np.uint8(128)).view(np.int8).reshape(tiles, groups, TILE_ROWS, GROUP).transpose(0, 2, 1, 3)
    if layout == Layout.RVV:
        pairs = body.reshape(tiles, groups, GROUP // 2, TILE_ROWS).transpose(0, 3, 1, 2)
        n = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(tiles, TILE_ROWS, groups, GROUP)
    else:
        halves = body.reshape(tiles, groups, TILE_ROWS, GROUP // 2)
        nibbles = np.stack([halves & 15, halves >> 4], axis=-1).reshape(tiles, groups, TILE_ROWS, 2, 4, 4)
        n = nibbles.transpose(0, 2, 1, 3, 5, 4).reshape(tiles, TILE_ROWS, groups, GROUP)
    return n.view(np.int8) - np.int8(8)
