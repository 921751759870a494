# SPDX-License-Identifier: Apache-2.0
"""QUANTIZE: rows of f32 as int8 with a scale for each group of 32."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Int32ul, Struct

from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.image import Operand

FIELDS = Struct(
    "src" / Operand,  # f32 [rows][width]
    "dst" / Operand,  # Q8A
    "width" / Int32ul,
)


@dataclass(eq=False)
class Quantize(Node):
    """dst = src in int8 groups. No verb: the compiler puts it before what reads quantized rows."""

    reads = ("src",)
    src: Value
    dst: Value

    def lower(self, at: Lowering) -> Fields:
        """Two places and a width."""
        return {"src": at.operand(self.src), "dst": at.operand(self.dst), "width": self.src.width}


OP = Op(3, 1, FIELDS, Quantize)
