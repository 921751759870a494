# SPDX-License-Identifier: Apache-2.0
"""LINEAR: a matrix product with bias, activation, gate and residual in its epilogue."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op, whole
from host.ir.program import OpEntry, Program, Traffic
from host.ir.value import Value, Vector, Weight
from host.ops.eltwise import bias as add_bias
from host.schema.fields import TENSOR, choice
from host.schema.formats.f32 import F32
from host.schema.image import TILE_ROWS, Activation, Format, Operand, align
from host.schema.weights import WeightFormat

FIELDS = Struct(
    "src" / Operand,  # src_format [rows][k]
    "dst" / Operand,  # f32 [rows][n]
    "residual" / Operand,  # f32 [rows][n], may be dst; or Space.NONE
    "weight" / TENSOR,  # [gated ? 2n : n][k]
    "bias" / TENSOR,  # f32 PLAIN [1][the weight's rows padded to TILE_ROWS]; or NO_TENSOR
    "src_format" / choice(Format),  # what the weight's format asks for: F32 or Q8A
    "k" / Int32ul,
    "n" / Int32ul,
    "activation" / choice(Activation),
    "gated" / Int32ul,  # 1: each block of 16 weight rows is 8 gate rows, then the 8 up rows of the same outputs
)


@dataclass(eq=False)
class Linear(Node):
    """dst = activation(weight src + bias) + residual; gated: activation(gate) * up + residual."""

    reads = ("src", "residual")
    overwrites = ("residual",)
    src: Value
    dst: Value
    weight: Weight
    bias: Vector | None = None
    activation: Activation = Activation.NONE
    gated: bool = False
    residual: Value | None = None
    output: bool = False
    """Whether it makes the logits."""
    format: WeightFormat = F32

    def choose_formats(self, weights: WeightFormat, output: WeightFormat) -> None:
        """The matrix that makes the logits has a format of its own."""
        self.format = output if self.output else weights

    def int8_inputs(self) -> tuple[str, ...]:
        """Its rows, beside quantized weights."""
        return ("src",) if self.format.activations == Format.Q8A else ()

    def lower(self, at: Lowering) -> Fields:
        """The bias is padded as the matrix is."""
        return {
            "src": at.operand(self.src),
            "dst": at.operand(self.dst),
            "residual": at.operand(self.residual),
            "weight": at.matrix(self.weight, self.format),
            "bias": at.vector(self.bias, align(self.weight.rows, TILE_ROWS)),
            "src_format": self.src.format,
            "k": self.src.width,
            "n": self.dst.width,
            "activation": self.activation,
            "gated": int(self.gated),
        }


def linear(
    b: Builder, name: str, src: Value, weight: Weight, bias: Vector | None = None, output: bool = False
) -> Value:
    """Product of weight [n][k] and src, then a bias as a node of its own."""
    dst = b.value(name, weight.rows)
    b.append(Linear(src, dst, weight, output=output))
    return dst if bias is None else add_bias(b, dst, bias)


def _cost(program: Program, op: OpEntry, rows: int, _start: int) -> Traffic:
    """The matrix and the bias once; a multiplication a weight and row."""
    weight = program.tensors[op.fields["weight"]]
    read = whole(program, [weight.index, op.fields["bias"]])
    return Traffic(weight_bytes=read, macs=float(rows * weight.rows * weight.cols))


OP = Op(4, 2, FIELDS, Linear, _cost, told_apart_by="weight")
