# SPDX-License-Identifier: Apache-2.0
"""What a token must read and multiply, computed from an image's program: no device is asked.

Bytes are those of the packed tensors, padding included, as often as they come from memory when no cache holds a
weight from one step to the next. A step of several rows reads each matrix once. Activations are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from host.errors import ImageError
from host.image.reader import OpEntry, TensorEntry
from host.schema.image import NO_TENSOR, TILE_ROWS, Domain, Format, Layout, OpId, align

VECTORS = ("bias", "frequencies")
"""Fields of ops that name a tensor which is read whole; so are a NORM's weight and an ELTWISE's tensor."""


class Program(Protocol):
    """What is asked here of an image: an Image, or what the compiler has planned."""

    @property
    def ops(self) -> Sequence[OpEntry]:
        """The program."""

    @property
    def tensors(self) -> Sequence[TensorEntry]:
        """The tensor table."""

    @property
    def states(self) -> Sequence[dict[str, Any]]:
        """The state table, by format.State's names."""

    @property
    def plan(self) -> dict[str, Any]:
        """By format.Plan's names."""


@dataclass(frozen=True)
class Traffic:
    """Bytes of weights and of KV cache read, and multiply-accumulates: of a step, or a token's share of one."""

    weight_bytes: float = 0.0
    kv_bytes: float = 0.0
    macs: float = 0.0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __truediv__(self, by: float) -> Traffic:
        return Traffic(*(getattr(self, f.name) / by for f in fields(self)))

    @property
    def bytes(self) -> float:
        """Weights and KV cache together."""
        return self.weight_bytes + self.kv_bytes


def visible_positions(position: int, window: int, sinks: int) -> int:
    """How many positions the row at ``position`` attends to, its own included."""
    if not window or position < window:
        return position + 1
    return window + min(sinks, position + 1 - window)


def _row_bytes(image: Program, tensor: int) -> float:
    """Bytes of one row of a table, which EMBED reads."""
    entry = image.tensors[tensor]
    rows = entry.rows if entry.layout == Layout.PLAIN else align(entry.rows, TILE_ROWS)
    return entry.size / rows


def _embed(image: Program, op: OpEntry, rows: int) -> Traffic:
    tables = [t for t in (op.fields["table"], op.fields["positions"]) if t != NO_TENSOR]
    return Traffic(weight_bytes=rows * sum(_row_bytes(image, table) for table in tables))


def _whole(image: Program, tensors: list[int]) -> float:
    return float(sum(image.tensors[t].size for t in tensors if t != NO_TENSOR))


def _linear(image: Program, op: OpEntry, rows: int) -> Traffic:
    weight = image.tensors[op.fields["weight"]]
    read = _whole(image, [weight.index, op.fields["bias"]])
    return Traffic(weight_bytes=read, macs=float(rows * weight.rows * weight.cols))


def _attention(image: Program, op: OpEntry, rows: int, start: int) -> Traffic:
    state = image.states[op.fields["state"]]
    seen = sum(visible_positions(p, state["window"], state["sinks"]) for p in range(start, start + rows))
    head_bytes = 4 * state["head_dim"] if state["format"] == Format.F32 else state["head_dim"] + 4
    read = 2 * seen * state["kv_heads"] * head_bytes
    return Traffic(kv_bytes=float(read), macs=float(2 * seen * op.fields["heads"] * state["head_dim"]))


def op_traffic(image: Program, op: OpEntry, rows: int, start: int, logit_rows: int) -> Traffic:
    """What one op reads in a step of ``rows`` rows from position ``start`` on, ``logit_rows`` of them with logits."""
    count = rows if op.domain == Domain.ROWS else logit_rows
    if not count:
        return Traffic()
    if op.id == OpId.EMBED:
        return _embed(image, op, count)
    if op.id == OpId.LINEAR:
        return _linear(image, op, count)
    if op.id == OpId.ATTENTION:
        return _attention(image, op, count, start)
    names = VECTORS + (("weight",) if op.id == OpId.NORM else ("tensor",) if op.id == OpId.ELTWISE else ())
    return Traffic(weight_bytes=_whole(image, [op.fields[name] for name in names if name in op.fields]))


def group_name(image: Program, op_id: int, weight: int) -> str:
    """Under which name an op's cost is added up: its kind, a LINEAR's with the role of its weight."""
    name = OpId(op_id).name.lower()
    if op_id != OpId.LINEAR or weight >= len(image.tensors):
        return name
    if image.tensors[weight].rows == image.plan["vocab"]:
        return f"{name} output"
    words = [w for w in image.tensors[weight].name.split(".") if not w.isdigit() and w not in ("weight", "model", "h")]
    return f"{name} {words[-1] if words else weight}"


def op_group(image: Program, op: OpEntry) -> str:
    """``group_name`` of an op of the program."""
    return group_name(image, op.id, op.fields["weight"] if op.id == OpId.LINEAR else NO_TENSOR)


def traffic_by_group(image: Program, tokens: int, start: int, chunk: int, logits_each: bool) -> dict[str, Traffic]:
    """A token's share when ``tokens`` tokens from position ``start`` on are evaluated, ``chunk`` rows a step.

    logits_each: whether the logits of every row are wanted (decode) or only those of the last (a prompt).
    """
    if tokens < 1 or chunk < 1:
        raise ImageError("a benchmark needs at least one token")
    totals: dict[str, Traffic] = {}
    for first in range(0, tokens, chunk):
        rows = min(chunk, tokens - first)
        logit_rows = rows if logits_each else int(first + rows == tokens)
        for op in image.ops:
            group = op_group(image, op)
            cost = op_traffic(image, op, rows, start + first, logit_rows)
            totals[group] = totals.get(group, Traffic()) + cost
    return {group: total / tokens for group, total in totals.items()}


def total_traffic(groups: dict[str, Traffic]) -> Traffic:
    """The sum over all groups."""
    return sum(groups.values(), Traffic())
