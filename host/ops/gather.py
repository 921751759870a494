# SPDX-License-Identifier: Apache-2.0
"""GATHER: the rows whose logits are wanted."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.image import Domain, Operand

FIELDS = Struct(
    "src" / Operand,  # f32, all rows of the step
    "dst" / Operand,  # f32, the rows whose logits are wanted, in order
    "width" / Int32ul,
)


@dataclass(eq=False)
class Gather(Node):
    """dst = the rows of src whose logits are wanted."""

    reads = ("src",)
    src: Value
    dst: Value

    def lower(self, at: Lowering) -> Fields:
        """Two places and a width."""
        return {"src": at.operand(self.src), "dst": at.operand(self.dst), "width": self.src.width}


def gather(b: Builder, src: Value) -> Value:
    """The rows whose logits are wanted; everything built afterwards runs on these alone."""
    b.domain = Domain.LOGIT_ROWS
    dst = b.value("last", src.width)
    b.append(Gather(src, dst))
    return dst


OP = Op(10, 1, FIELDS, Gather)
