# SPDX-License-Identifier: Apache-2.0
"""CAP: cap * tanh(x / cap), which keeps numbers within ±cap: Gemma 2's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from construct import Float32l, Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.image import Operand

FIELDS = Struct(
    "src" / Operand,  # f32 [rows][width]
    "dst" / Operand,  # f32 [rows][width]; may be src
    "width" / Int32ul,
    "cap" / Float32l,
)


@dataclass(eq=False)
class Cap(Node):
    """dst = cap * tanh(src / cap)."""

    reads = ("src",)
    overwrites = ("src",)
    ranges: ClassVar = {"cap": (1e-3, 1e6)}
    src: Value
    dst: Value
    cap: float

    def lower(self, at: Lowering) -> Fields:
        """As the node says it."""
        return {"src": at.operand(self.src), "dst": at.operand(self.dst), "width": self.src.width, "cap": self.cap}


def cap(b: Builder, name: str, src: Value, most: float) -> Value:
    """The elements of ``src``, none beyond ±``most``."""
    dst = b.value(name, src.width)
    b.append(Cap(src, dst, most))
    return dst


OP = Op(11, 1, FIELDS, Cap)
