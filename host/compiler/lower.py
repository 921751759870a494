# SPDX-License-Identifier: Apache-2.0
"""Lowering: every node of the graph becomes one op record; every value a place in the arena; every weight a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from host.compiler.memory import Buffer, plan_arena
from host.compiler.places import Places
from host.compiler.states import state_records
from host.compiler.tensors import Tensors, TensorSpec
from host.ir.graph import Graph, Node
from host.ir.lowering import Fields, PlanOptions, StateRecord
from host.ir.value import Value, Vector, Weight
from host.ops import OP_OF
from host.schema.image import ARENA_UNIT, Domain, Layout, Space
from host.schema.weights import WeightFormat


@dataclass
class Lowered:
    """A program and everything it refers to. ``buffers`` are the arena's, for people."""

    ops: list[bytes]
    tensors: list[TensorSpec]
    states: list[StateRecord]
    buffers: list[Buffer]
    arena_bytes: int
    logits_offset: int
    logits_stride: int


class Lowerer:
    """One run over a legal graph; what its ops see of it is host.ir.lowering.Lowering."""

    def __init__(self, graph: Graph, options: PlanOptions, layout: Layout) -> None:
        self.graph, self.options = graph, options
        self.tensors = Tensors(layout)
        self.states: list[StateRecord] = state_records(graph, options)
        self.places = Places(graph, options)
        self._scratch = {
            (id(node), name): Buffer(f"{_name(node)}.{name}", size, index, index)
            for index, node in enumerate(graph.nodes)
            for name, size in node.scratch(self).items()
        }

    def run(self) -> Lowered:
        """Place the buffers, then write the records."""
        logits = self.graph.logits
        if logits is None:
            raise AssertionError("a graph without logits cannot be lowered")
        buffers = [*self.places.buffers.values(), *self._scratch.values()]
        arena = plan_arena(buffers)
        ops = [self._record(node) for node in self.graph.nodes]
        place = self.operand(logits)
        return Lowered(ops, self.tensors.specs, self.states, buffers, arena, place["offset"], place["stride"])

    def _record(self, node: Node) -> bytes:
        domain = node.outputs()[0].domain if node.outputs() else Domain.ROWS
        return OP_OF[type(node)].record(domain, node.lower(self))

    def operand(self, value: Value | None) -> Fields:
        """See Lowering."""
        return self.places.operand(value)

    def scratch(self, owner: object, name: str) -> Fields:
        """See Lowering."""
        buffer = self._scratch[id(owner), name]
        return {
            "space": Space.ARENA,
            "offset": buffer.offset // ARENA_UNIT,
            "stride": buffer.size // ARENA_UNIT,
            "col": 0,
        }

    def matrix(self, weight: Weight, fmt: WeightFormat) -> int:
        """See Lowering."""
        return self.tensors.matrix(weight, fmt)

    def plain(self, weight: Weight, fmt: WeightFormat) -> int:
        """See Lowering."""
        return self.tensors.plain(weight, fmt)

    def vector(self, vector: Vector | None, size: int = 0) -> int:
        """See Lowering."""
        return self.tensors.vector(vector, size)


def _name(node: Node) -> str:
    """What a node's memory is called: by its result where it has one."""
    return node.outputs()[0].name if node.outputs() else type(node).__name__
