# SPDX-License-Identifier: Apache-2.0
"""KV_STORE: keys and values of the rows go to the cache."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Struct

from host.ir.graph import Node
from host.ir.lowering import Fields, Lowering
from host.ir.op import Op
from host.ir.value import Value
from host.schema.fields import STATE
from host.schema.image import Operand

FIELDS = Struct(
    "k" / Operand,  # f32 [rows][kv_heads * head_dim]
    "v" / Operand,
    "state" / STATE,
)


@dataclass(eq=False)
class KvStore(Node):
    """Keys and values of the rows go to the KV cache ``state``. Its verb is attention's."""

    reads = ("k", "v")
    writes = ()
    effects = True
    k: Value
    v: Value
    state: int

    def lower(self, at: Lowering) -> Fields:
        """Two places and a cache."""
        return {"k": at.operand(self.k), "v": at.operand(self.v), "state": self.state}


OP = Op(7, 1, FIELDS, KvStore)
