# SPDX-License-Identifier: Apache-2.0
"""EMBED: the rows of a table that the tokens name, plus learned positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from construct import Float32l, Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.program import OpEntry, Program, Traffic
from host.ir.value import Value, Weight
from host.schema.fields import TENSOR
from host.schema.formats.f32 import F32
from host.schema.image import NO_TENSOR, TILE_ROWS, Layout, Operand, align
from host.schema.weights import WeightFormat

FIELDS = Struct(
    "dst" / Operand,  # f32 [rows][dim]
    "table" / TENSOR,  # [vocab][dim]
    "positions" / TENSOR,  # [>= context][dim], added; or NO_TENSOR
    "dim" / Int32ul,
    "scale" / Float32l,  # the token's row is multiplied by it before the position is added
)


@dataclass(eq=False)
class Embed(Node):
    """dst = table[token] * scale (+ positions[position])."""

    ranges: ClassVar = {"scale": (-1e6, 1e6)}

    dst: Value
    table: Weight
    positions: Weight | None = None
    scale: float = 1.0
    format: WeightFormat = F32

    def choose_formats(self, weights: WeightFormat, output: WeightFormat) -> None:  # noqa: ARG002
        """As the output matrix: a tied model has one tensor for both."""
        self.format = output

    def lower(self, at: Lowering) -> Fields:
        """Of the learned positions only those of the context are kept."""
        positions = NO_TENSOR
        if self.positions is not None:
            kept = self.positions.take(self.positions.name, np.arange(at.options.context))
            positions = at.plain(kept, F32)
        return {
            "dst": at.operand(self.dst),
            "table": at.matrix(self.table, self.format),
            "positions": positions,
            "dim": self.dst.width,
            "scale": self.scale,
        }


def embed(b: Builder, table: Weight, positions: Weight | None = None, scale: float = 1.0) -> Value:
    """[rows][dim] of the rows' tokens times ``scale``, plus learned positions."""
    dst = b.value("embed", table.cols)
    b.append(Embed(dst, table, positions, scale))
    return dst


def _row_bytes(program: Program, tensor: int) -> float:
    """Bytes of one row of a table."""
    entry = program.tensors[tensor]
    rows = entry.rows if entry.layout == Layout.PLAIN else align(entry.rows, TILE_ROWS)
    return entry.size / rows


def _cost(program: Program, op: OpEntry, rows: int, _start: int) -> Traffic:
    """One row of each table a token."""
    tables = [t for t in (op.fields["table"], op.fields["positions"]) if t != NO_TENSOR]
    return Traffic(weight_bytes=rows * sum(_row_bytes(program, table) for table in tables))


OP = Op(1, 1, FIELDS, Embed, _cost)
