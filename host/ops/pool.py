# SPDX-License-Identifier: Apache-2.0
"""POOL: one row out of all rows of a sequence, as sentence-transformers pools them.

Reimers and Gurevych, arXiv:1908.10084; its Pooling module has the modes and their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from construct import Int32ul, Struct

from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.image import Domain, Operand


class PoolKind(IntEnum):
    """First row, largest elements, mean, sum / sqrt(count), mean weighted by place, last row of a sequence."""

    FIRST = 0
    MAX = 1
    MEAN = 2
    MEAN_SQRT = 3
    WEIGHTED_MEAN = 4
    LAST = 5


FIELDS = Struct(
    "src" / Operand,  # f32 [rows][width], all rows of the step
    "dst" / Operand,  # f32 [wanted rows][kinds * width], of the sequence that each belongs to
    "kinds" / Int32ul,  # a bit a PoolKind; their results lie side by side, the lowest first
    "width" / Int32ul,
)


@dataclass(eq=False)
class Pool(Node):
    """dst = what ``kinds`` make of the rows of src, side by side."""

    reads = ("src",)
    src: Value
    dst: Value
    kinds: tuple[PoolKind, ...]

    def lower(self, at: Lowering) -> Fields:
        """Two places, kinds and a width."""
        kinds = sum(1 << kind for kind in self.kinds)
        return {"src": at.operand(self.src), "dst": at.operand(self.dst), "kinds": kinds, "width": self.src.width}


def pool(b: Builder, name: str, src: Value, kinds: Iterable[PoolKind]) -> Value:
    """[wanted rows][kinds * width], the kinds side by side in their order; what is built afterwards runs on these."""
    b.domain = Domain.LOGIT_ROWS
    wanted = tuple(sorted(set(kinds)))
    dst = b.value(name, src.width * len(wanted))
    b.append(Pool(src, dst, wanted))
    return dst


OP = Op(12, 1, FIELDS, Pool)
