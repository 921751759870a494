# SPDX-License-Identifier: Apache-2.0
"""q4m: integers of 4 bits, -8..7, with one scale and one minimum a group. Several ranges are tried, then lines."""

from __future__ import annotations

import numpy as np

from host.schema.bf16 import round_bf16, to_bf16
from host.schema.image import GROUP, Layout
from host.schema.nibbles import block_nibbles, pack_nibbles, unpack_nibbles
from host.schema.scales import ScaleSearch, normalise, restore, usable_scale
from host.schema.weights import F32Array, GroupFormat, Groups, I8Array, Twin, U8Array

SPANS = (15.0, 16.0, 14.2, 17.2)
"""A group's range becomes this many steps: beyond 15 it is clipped on both sides."""


class _Q4M(GroupFormat):
    def quantize_groups(self, x: F32Array) -> Groups:
        x, exponents = normalise(x)
        low, high, mean_x = x.min(axis=1), x.max(axis=1), x.mean(axis=1)
        best = ScaleSearch(x, self.low, self.high)
        for span in SPANS:
            s, _ = usable_scale((high - low) / np.float32(span))
            # The nibbles' centre is -0.5, not 0, so the centre of the range lies half a step below the minimum term.
            best.attempt(s, round_bf16((low + high + s) * np.float32(0.5)))
        for _ in range(2):
            mean_q = best.q.mean(axis=1)
            spread = np.einsum("ij,ij->i", best.q, best.q) / GROUP - mean_q * mean_q
            joint = np.einsum("ij,ij->i", best.q, x) / GROUP - mean_q * mean_x
            slope, _ = usable_scale(np.divide(joint, spread, out=best.s.copy(), where=spread > 0))
            best.attempt(slope, round_bf16(mean_x - slope * mean_q))
        return best.q.astype(np.int8), restore(best.s, exponents), restore(best.m, exponents)

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
