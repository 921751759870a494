# SPDX-License-Identifier: Apache-2.0
"""MIRROR: the columns of a row in the opposite order."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.image import Operand

FIELDS = Struct(
    "src" / Operand,  # f32 [rows][width]
    "dst" / Operand,  # f32 [rows][width]
    "width" / Int32ul,
)


@dataclass(eq=False)
class Mirror(Node):
    """dst[i] = src[width - 1 - i]."""

    reads = ("src",)
    src: Value
    dst: Value

    def lower(self, at: Lowering) -> Fields:
        """Two places and a width."""
        return {"src": at.operand(self.src), "dst": at.operand(self.dst), "width": self.src.width}


def mirror(b: Builder, name: str, src: Value) -> Value:
    """The rows of ``src`` with their columns in the opposite order."""
    dst = b.value(name, src.width)
    b.append(Mirror(src, dst))
    return dst


OP = Op(900, 1, FIELDS, Mirror)
