# SPDX-License-Identifier: Apache-2.0
"""ROPE: rotary position embedding of heads, in place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from construct import Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.fields import choice
from host.schema.image import Operand


class RopeStyle(IntEnum):
    """Which elements of a head are rotated together."""

    HALVES = 0
    """Pairs are (i, i + rotary/2): GPT-NeoX, Hugging Face."""
    PAIRS = 1
    """Pairs are (2i, 2i + 1): the original RoPE."""


FIELDS = Struct(
    "x" / Operand,  # f32 [rows][heads * head_dim], in place
    "table" / Operand,  # from ROPE_TABLE, half = rotary / 2
    "heads" / Int32ul,
    "head_dim" / Int32ul,
    "rotary" / Int32ul,  # the first so many elements of a head are rotated
    "style" / choice(RopeStyle),
)


@dataclass(eq=False)
class Rope(Node):
    """dst = x rotated; dst takes x's place in memory, so nobody may read x afterwards."""

    reads = ("x", "table")
    in_place = "x"
    x: Value
    table: Value
    dst: Value
    heads: int
    head_dim: int
    rotary: int
    style: RopeStyle = RopeStyle.HALVES

    def lower(self, at: Lowering) -> Fields:
        """One place: the result lies where x did."""
        return {
            "x": at.operand(self.x),
            "table": at.operand(self.table),
            "heads": self.heads,
            "head_dim": self.head_dim,
            "rotary": self.rotary,
            "style": self.style,
        }


def rope(b: Builder, x: Value, table: Value, heads: int, head_dim: int, style: RopeStyle = RopeStyle.HALVES) -> Value:
    """The heads of x rotated by the table."""
    dst = b.value(f"{x.name}.rope", x.width)
    b.append(Rope(x, table, dst, heads, head_dim, table.width, style))
    return dst


OP = Op(6, 1, FIELDS, Rope)
