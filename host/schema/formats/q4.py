# SPDX-License-Identifier: Apache-2.0
"""q4: integers of 4 bits, -8..7, with one scale a group. Several scales are tried and the best is kept."""

from __future__ import annotations

from host.schema.bf16 import to_bf16
from host.schema.image import Layout
from host.schema.nibbles import block_nibbles, pack_nibbles, unpack_nibbles
from host.schema.scales import search_scale
from host.schema.weights import F32Array, GroupFormat, Groups, I8Array, Twin, U8Array

STEPS = (-8.0, 8.0, -7.5, 7.5, -8.6, -7.0, 7.0, -6.3, 6.3)
"""The extreme value of a group becomes this multiple of the scale: -8 is exact, beyond it is clipped."""


class _Q4(GroupFormat):
    def quantize_groups(self, x: F32Array) -> Groups:
        return *search_scale(x, self.low, self.high, STEPS), None

    def pack_values(self, q: I8Array, layout: Layout) -> U8Array:
        return pack_nibbles(q, layout)

    def unpack_values(self, body: U8Array, layout: Layout) -> I8Array:
        return unpack_nibbles(body, layout)


def read_q4_0(floats: F32Array, body: U8Array) -> Groups:
    """Q4_0: the scale d, then nibbles n; a weight is (n - 8) * d."""
    return block_nibbles(body), to_bf16(floats[:, 0]), None


Q4 = _Q4(
    name="q4",
    id=4,
    bits=4,
    error=0.1,
    low=-8,
    high=7,
    suits=("Q4_0",),
    twin=Twin("Q4_0", floats=1, read=read_q4_0),
)
