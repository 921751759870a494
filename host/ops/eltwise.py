# SPDX-License-Identifier: Apache-2.0
"""ELTWISE: sums, products, activations and gates, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from construct import Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value, Vector
from host.schema.fields import TENSOR, choice
from host.schema.image import Activation, Operand


class Eltwise(IntEnum):
    """dst = a + b, a * b, act(a), act(a) * b, a + tensor (one row, broadcast)."""

    ADD = 0
    MUL = 1
    ACT = 2
    GATE = 3
    BIAS = 4


FIELDS = Struct(
    "a" / Operand,
    "b" / Operand,  # Space.NONE for ACT and BIAS
    "dst" / Operand,  # may be a or b
    "tensor" / TENSOR,  # BIAS: f32 [1][width]
    "kind" / choice(Eltwise),
    "activation" / choice(Activation),  # ACT, GATE
    "width" / Int32ul,
)


@dataclass(eq=False)
class Elementwise(Node):
    """dst = a + b, a * b, act(a), act(a) * b or a + tensor."""

    reads = ("a", "b")
    overwrites = ("a", "b")
    a: Value
    dst: Value
    kind: Eltwise
    b: Value | None = None
    tensor: Vector | None = None
    activation: Activation = Activation.NONE

    def lower(self, at: Lowering) -> Fields:
        """One record for all kinds."""
        return {
            "a": at.operand(self.a),
            "b": at.operand(self.b),
            "dst": at.operand(self.dst),
            "tensor": at.vector(self.tensor),
            "kind": self.kind,
            "activation": self.activation,
            "width": self.dst.width,
        }


def bias(b: Builder, x: Value, values: Vector) -> Value:
    """The same row of ``values`` added to each row of x."""
    dst = b.value(f"{x.name}.bias", x.width)
    b.append(Elementwise(x, dst, Eltwise.BIAS, tensor=values))
    return dst


def add(b: Builder, name: str, x: Value, y: Value) -> Value:
    """Sum x + y."""
    dst = b.value(name, x.width)
    b.append(Elementwise(x, dst, Eltwise.ADD, y))
    return dst


def multiply(b: Builder, name: str, x: Value, y: Value) -> Value:
    """Product x * y."""
    dst = b.value(name, x.width)
    b.append(Elementwise(x, dst, Eltwise.MUL, y))
    return dst


def activate(b: Builder, name: str, x: Value, activation: Activation) -> Value:
    """Activation of x."""
    dst = b.value(name, x.width)
    b.append(Elementwise(x, dst, Eltwise.ACT, activation=activation))
    return dst


OP = Op(9, 2, FIELDS, Elementwise)
