# SPDX-License-Identifier: Apache-2.0
"""NORM: rows, or segments of them, brought to a root mean square of 1; RMSNorm and LayerNorm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from construct import Float32l, Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value, Vector
from host.schema.fields import TENSOR, choice
from host.schema.image import Format, Operand


class NormKind(IntEnum):
    """Root mean square, or mean and variance."""

    RMS = 0
    LAYER = 1


FIELDS = Struct(
    "src" / Operand,  # f32 [rows][segments * width]
    "dst" / Operand,  # dst_format; may be src when f32
    "weight" / TENSOR,  # f32 [1][width], the same for each segment; or NO_TENSOR
    "bias" / TENSOR,  # f32 [1][width]; or NO_TENSOR
    "kind" / choice(NormKind),
    "width" / Int32ul,
    "segments" / Int32ul,
    "eps" / Float32l,
    "dst_format" / choice(Format),  # F32, or Q8A (one segment)
)


@dataclass(eq=False)
class Norm(Node):
    """Each segment of ``src`` normalised, times weight, plus bias."""

    reads = ("src",)
    overwrites = ("src",)
    ranges: ClassVar = {"eps": (1e-30, 1.0)}
    src: Value
    dst: Value
    kind: NormKind
    eps: float
    weight: Vector | None = None
    bias: Vector | None = None
    segments: int = 1

    def lower(self, at: Lowering) -> Fields:
        """The result's format says whether it is quantized."""
        return {
            "src": at.operand(self.src),
            "dst": at.operand(self.dst),
            "weight": at.vector(self.weight),
            "bias": at.vector(self.bias),
            "kind": self.kind,
            "width": self.src.width // self.segments,
            "segments": self.segments,
            "eps": self.eps,
            "dst_format": self.dst.format,
        }


def norm(
    b: Builder,
    name: str,
    src: Value,
    kind: NormKind,
    eps: float,
    weight: Vector,
    bias: Vector | None = None,
    segments: int = 1,
) -> Value:
    """Norm over each of ``segments`` equal parts of a row, all with the same weight and bias."""
    dst = b.value(name, src.width)
    b.append(Norm(src, dst, kind, eps, weight, bias, segments))
    return dst


OP = Op(2, 1, FIELDS, Norm)
