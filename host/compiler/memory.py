# SPDX-License-Identifier: Apache-2.0
"""Placing buffers with known lifetimes in one arena."""

from __future__ import annotations

from dataclasses import dataclass

from host.schema.image import ARENA_UNIT, align


@dataclass
class Buffer:
    """``size`` bytes alive from op ``first`` to op ``last``, both included; ``offset`` is the planner's answer."""

    name: str
    size: int
    first: int
    last: int
    offset: int = -1

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are alive during some op."""
        return self.first <= other.last and other.first <= self.last


def plan_arena(buffers: list[Buffer]) -> int:
    """Give each buffer the lowest offset that no buffer alive at the same time takes, largest first.

    Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, greedy by size. Returns the
    bytes of the arena. Offsets are multiples of ARENA_UNIT.
    """
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.name)):
        at = 0
        for other in sorted((b for b in placed if b.overlaps(buffer)), key=lambda b: b.offset):
            if other.offset - at >= buffer.size:
                break
            at = max(at, align(other.offset + other.size, ARENA_UNIT))
        buffer.offset = at
        placed.append(buffer)
    return max((align(b.offset + b.size, ARENA_UNIT) for b in placed), default=0)
