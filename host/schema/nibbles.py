# SPDX-License-Identifier: Apache-2.0
"""4-bit values in a record: the nibble q + 8, in the order of either layout.

RVV, lane = row: 16 x 64 bytes; byte (p, r) has row r: column 2p in the low nibble, column 2p + 1 in the high one.
SWAR, four consecutive columns' lanes of one row in a 64-bit word: a row is two little-endian 64-bit words; bits
[16 l + 4 j, + 4) of word w are column 16 w + 4 j + l.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from host.schema.image import GROUP, TILE_ROWS, Layout
from host.schema.tiles import turned

I8Array = npt.NDArray[np.int8]
U8Array = npt.NDArray[np.uint8]


def pack_nibbles(q: I8Array, layout: Layout) -> U8Array:
    """[tile][64][group][32] integers in -8..7 as [tile][group][...] bytes."""
    n = np.add(q, np.int8(8), order="C").view(np.uint8)
    if layout == Layout.RVV:
        pairs = n[..., 0::2] | n[..., 1::2] << np.uint8(4)  # [tile][64][group][16]
        tiles, _, groups, _ = pairs.shape
        return turned(pairs.reshape(tiles, TILE_ROWS, -1)).reshape(tiles, groups, -1)
    fours = n.view("<u4")  # [tile][64][group][8]: columns 4 i + l, a byte each
    pairs = fours[..., 0::2] | fours[..., 1::2] << np.uint32(4)
    words = _spread(pairs[..., 0::2]) | _spread(pairs[..., 1::2]) << np.uint64(8)  # [tile][64][group][2]
    return np.ascontiguousarray(words.transpose(0, 2, 1, 3)).view(np.uint8)


def _spread(fours: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """The four bytes of each as the even bytes of eight."""
    wide: npt.NDArray[np.uint64] = fours.astype("<u8")
    wide = (wide | wide << np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return (wide | wide << np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)


def unpack_nibbles(body: U8Array, layout: Layout) -> I8Array:
    """[tile][group][1024] bytes as [tile][64][group][32] integers."""
    tiles, groups, _ = body.shape
    if layout == Layout.RVV:
        pairs = body.reshape(tiles, groups, GROUP // 2, TILE_ROWS).transpose(0, 3, 1, 2)
        n = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(tiles, TILE_ROWS, groups, GROUP)
    else:
        halves = body.reshape(tiles, groups, TILE_ROWS, GROUP // 2)
        nibbles = np.stack([halves & 15, halves >> 4], axis=-1).reshape(tiles, groups, TILE_ROWS, 2, 4, 4)
        n = nibbles.transpose(0, 2, 1, 3, 5, 4).reshape(tiles, TILE_ROWS, groups, GROUP)
    return n.view(np.int8) - np.int8(8)


def block_nibbles(body: U8Array) -> I8Array:
    """GGML's 16 bytes of a 4-bit block, uint8 [n][16], as integers [n][32]: low nibbles are columns 0 to 15."""
    return np.concatenate([body & 15, body >> 4], axis=1).astype(np.int8) - np.int8(8)
