# SPDX-License-Identifier: Apache-2.0
"""q8: integers of 8 bits, -127..127, with one scale a group.

RVV: [32 columns][64 rows] int8. SWAR: a row is 32 bytes q + 128 in the order of columns; behind the scales 64 int16
sums of q, which take the 128 out of a product. LEAN: the same without the sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from host.schema.bf16 import to_bf16
from host.schema.image import GROUP, TILE_ROWS, Layout
from host.schema.scales import round_to_largest
from host.schema.tiles import turned
from host.schema.weights import F32Array, GroupFormat, Groups, I8Array, Twin, U8Array


class _Q8(GroupFormat):
    def quantize_groups(self, x: F32Array) -> Groups:
        return *round_to_largest(x, self.high), None

    def pack_values(self, q: I8Array, layout: Layout) -> U8Array:
        if layout == Layout.RVV:
            return turned(q.reshape(len(q), TILE_ROWS, -1)).view(np.uint8)
        return np.ascontiguousarray(q.transpose(0, 2, 1, 3)).view(np.uint8) ^ np.uint8(128)

    def unpack_values(self, body: U8Array, layout: Layout) -> I8Array:
        tiles, groups, _ = body.shape
        if layout == Layout.RVV:
            return body.view(np.int8).reshape(tiles, groups, GROUP, TILE_ROWS).transpose(0, 3, 1, 2)
        return (body ^ np.uint8(128)).view(np.int8).reshape(tiles, groups, TILE_ROWS, GROUP).transpose(0, 2, 1, 3)

    def sums(self, q: I8Array, layout: Layout) -> list[npt.NDArray[np.int16]]:
        return [q.sum(axis=3, dtype=np.int16).transpose(0, 2, 1)] if layout == Layout.SWAR else []


def read_q8_0(floats: F32Array, body: U8Array) -> Groups:
    """Q8_0: the scale, then the integers."""
    return np.ascontiguousarray(body).view(np.int8), to_bf16(floats[:, 0]), None


def fits_q8_0(body: U8Array) -> bool:
    """Not with -128, which does not exist here and no quantizer writes."""
    return not (body == 0x80).any()


Q8 = _Q8(
    name="q8",
    id=3,
    bits=8,
    error=0.007,
    low=-127,
    high=127,
    layouts=(Layout.RVV, Layout.SWAR, Layout.LEAN),
    suits=("Q8_0",),
    twin=Twin("Q8_0", floats=1, read=read_q8_0, fits=fits_q8_0),
)
