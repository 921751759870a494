# SPDX-License-Identifier: Apache-2.0
"""q4m: integers of 4 bits, -8..7, with one scale and one minimum a group. Several ranges are tried, then lines."""

from __future__ import annotations

from host.schema.bf16 import to_bf16
from host.schema.image import Layout
from host.schema.nibbles import block_nibbles, pack_nibbles, unpack_nibbles
from host.schema.scales import search_line
from host.schema.weights import F32Array, GroupFormat, Groups, I8Array, Twin, U8Array

SPANS = (15.0, 16.0, 14.2, 17.2)
"""A group's range becomes this many steps: beyond 15 it is clipped on both sides."""
FITS = 2
"""How often a line is fitted to the best of them."""


class _Q4M(GroupFormat):
    def quantize_groups(self, x: F32Array) -> Groups:
        return search_line(x, self.low, self.high, SPANS, FITS)

    def pack_values(self, q: I8Array, layout: Layout) -> U8Array:
        return pack_nibbles(q, layout)

    def unpack_values(self, body: U8Array, layout: Layout) -> I8Array:
        return unpack_nibbles(body, layout)


def read_q4_1(floats: F32Array, body: U8Array) -> Groups:
    """Q4_1: scale d and minimum m, then nibbles n; a weight is n * d + m, which is (n - 8) * d + (m + 8 d)."""
    return block_nibbles(body), to_bf16(floats[:, 0]), to_bf16(floats[:, 1] + 8 * floats[:, 0])


Q4M = _Q4M(
    name="q4m",
    id=5,
    bits=4,
    error=0.09,
    low=-8,
    high=7,
    has_minimum=True,
    suits=("Q4_1", "Q4_K"),
    twin=Twin("Q4_1", floats=2, read=read_q4_1),
)
