# SPDX-License-Identifier: Apache-2.0
"""ROPE_TABLE: cosines and sines of the rows' positions, once for all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from construct import Float32l, Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value, Vector
from host.schema.fields import TENSOR
from host.schema.image import Operand

FIELDS = Struct(
    "dst" / Operand,  # f32 [rows][2 * half]: cos of each frequency, then sin
    "frequencies" / TENSOR,  # f32 PLAIN [1][half], radians a position
    "half" / Int32ul,
    "scale" / Float32l,  # cos and sin are multiplied by it (YaRN's and LongRoPE's attention factor)
)


@dataclass(eq=False)
class RopeTable(Node):
    """dst = cos and sin of position * frequency, times scale."""

    ranges: ClassVar = {"scale": (1e-6, 1e6)}

    dst: Value
    frequencies: Vector
    scale: float = 1.0

    def lower(self, at: Lowering) -> Fields:
        """As many frequencies as pairs are rotated."""
        return {
            "dst": at.operand(self.dst),
            "frequencies": at.vector(self.frequencies),
            "half": len(self.frequencies.values),
            "scale": self.scale,
        }


def rope_table(b: Builder, frequencies: Vector, scale: float) -> Value:
    """Table of cos and sin for the rows' positions, [rows][2 * frequencies]."""
    dst = b.value("rope", 2 * len(frequencies.values))
    b.append(RopeTable(dst, frequencies, scale))
    return dst


OP = Op(5, 1, FIELDS, RopeTable)
