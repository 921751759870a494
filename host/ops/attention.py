# SPDX-License-Identifier: Apache-2.0
"""ATTENTION: queries over a KV cache, causal, with a window where the cache has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from construct import Float32l, Int32ul, Struct

from host.errors import SourceError
from host.ir.builder import Builder
from host.ir.graph import Node
from host.ir.lowering import Fields, KvSpec, Lowering
from host.ir.op import Op
from host.ir.program import OpEntry, Program, Traffic
from host.ir.value import Value
from host.ops.kv_store import KvStore
from host.schema.fields import STATE
from host.schema.image import Format, Operand, align, partial_chunks
from host.schema.limits import HEAD_DIM_STEP, LIMIT_GROUP_HEADS, LIMIT_HEAD_DIM

FIELDS = Struct(
    "q" / Operand,  # f32 [rows][heads * head_dim]
    "dst" / Operand,  # f32 [rows][heads * head_dim]
    "partial" / Operand,  # f32: one row of heads * partial_chunks() records of align16(head_dim + 2)
    "state" / STATE,
    "heads" / Int32ul,
    "scale" / Float32l,
    "softcap" / Float32l,  # 0: none; else s = softcap * tanh(s / softcap)
    "whole" / Int32ul,  # 1: a row sees all of its sequence, not only what is before it
    "reach" / Int32ul,  # whole: those so many places away at most; 0: all
)


@dataclass(eq=False)
class Attention(Node):
    """dst = attention of q over the KV cache ``state``."""

    reads = ("q",)
    remembers = True
    ranges: ClassVar = {"scale": (1e-6, 1e6), "softcap": (0.0, 1e6)}
    q: Value
    dst: Value
    state: int
    heads: int
    scale: float
    softcap: float = 0.0
    whole: bool = False
    """Whether rows see those behind them, too."""
    reach: int = 0
    """Of a whole sequence: places on each side that a row sees; 0: all."""

    def check_limits(self, states: Sequence[KvSpec]) -> None:
        """Raise SourceError for heads that the kernels do not take."""
        spec = states[self.state]
        if spec.head_dim % HEAD_DIM_STEP or spec.head_dim > LIMIT_HEAD_DIM:
            raise SourceError(
                f"the model's heads have {spec.head_dim} elements; the firmware takes multiples of "
                f"{HEAD_DIM_STEP} up to {LIMIT_HEAD_DIM}"
            )
        if self.heads // spec.kv_heads > LIMIT_GROUP_HEADS:
            raise SourceError(
                f"the model has {self.heads // spec.kv_heads} query heads to a KV head; the firmware takes "
                f"{LIMIT_GROUP_HEADS} at most"
            )

    def scratch(self, at: Lowering) -> dict[str, int]:
        """``partial``: the results of a row's chunks, before they are merged."""
        state = at.states[self.state]
        chunks = partial_chunks(at.options.context, state.window, state.sinks, at.options.overflow)
        return {"partial": self.heads * chunks * align(state.head_dim + 2, 16) * 4}

    def lower(self, at: Lowering) -> Fields:
        """The cache's record has the rest."""
        return {
            "q": at.operand(self.q),
            "dst": at.operand(self.dst),
            "partial": at.scratch(self, "partial"),
            "state": self.state,
            "heads": self.heads,
            "scale": self.scale,
            "softcap": self.softcap,
            "whole": int(self.whole),
            "reach": self.reach,
        }


def attention_over_all(
    b: Builder, name: str, q: Value, k: Value, v: Value, spec: KvSpec, heads: int, scale: float, reach: int = 0
) -> Value:
    """Attention of each row over all rows of its sequence, or over those ``reach`` places away at most (0: all).

    Keys and values go through one cache for all layers: each is read within the layer that wrote it.
    """
    if not b.graph.states:
        b.graph.states.append(spec)
    b.append(KvStore(k, v, 0))
    dst = b.value(name, q.width)
    b.append(Attention(q, dst, 0, heads, scale, whole=True, reach=reach))
    return dst


def attention(
    b: Builder, name: str, q: Value, k: Value, v: Value, spec: KvSpec, heads: int, scale: float, softcap: float = 0.0
) -> Value:
    """Keys and values into a new layer's cache, then causal attention over it; ``softcap`` bounds scores, 0: not."""
    state = len(b.graph.states)
    b.graph.states.append(spec)
    b.append(KvStore(k, v, state))
    dst = b.value(name, q.width)
    b.append(Attention(q, dst, state, heads, scale, softcap))
    return dst


def visible_positions(position: int, window: int, sinks: int) -> int:
    """How many positions the row at ``position`` attends to, its own included."""
    if not window or position < window:
        return position + 1
    return window + min(sinks, position + 1 - window)


def _cost(program: Program, op: OpEntry, rows: int, start: int) -> Traffic:
    """Keys and values of all positions that each row sees."""
    state = program.states[op.fields["state"]]
    seen = sum(visible_positions(p, state["window"], state["sinks"]) for p in range(start, start + rows))
    head_bytes = 4 * state["head_dim"] if state["format"] == Format.F32 else state["head_dim"] + 4
    read = 2 * seen * state["kv_heads"] * head_bytes
    return Traffic(kv_bytes=float(read), macs=float(2 * seen * op.fields["heads"] * state["head_dim"]))


OP = Op(8, 2, FIELDS, Attention, _cost)
