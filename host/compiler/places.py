# SPDX-License-Identifier: Apache-2.0
"""Where each value of the graph lies in the arena."""

from __future__ import annotations

from host.compiler.memory import Buffer
from host.ir.graph import Graph
from host.ir.lowering import PlanOptions
from host.ir.value import Value
from host.schema.image import (
    ARENA_UNIT,
    TILE_ROWS,
    Domain,
    Format,
    Space,
    align,
    f32_row_bytes,
    q8a_row_bytes,
)

NO_OPERAND = {"space": Space.NONE, "offset": 0, "stride": 0, "col": 0}


class Places:
    """Where each value lies: values that share memory are one buffer, and the planner places the buffers."""

    def __init__(self, graph: Graph, options: PlanOptions) -> None:
        self._graph = graph
        self._options = options
        self._roots: dict[int, Value] = {}
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._moved: dict[int, tuple[Value, int]] = {}
        """Of a root that lies in another root's memory: that root, and the column there. By ``id``."""
        self._lifetimes()
        self._share()
        self.buffers = {
            id(root): Buffer(root.name, self._bytes(root), self._first[id(root)], self._last[id(root)])
            for root in self._roots.values()
            if id(root) not in self._moved
        }

    def _lifetimes(self) -> None:
        for index, node in enumerate(self._graph.nodes):
            for value in [*node.inputs(), *node.outputs()]:
                root = value.root
                self._roots[id(root)] = root
                self._first.setdefault(id(root), index)
                self._last[id(root)] = index
        if self._graph.logits is not None:
            self._last[id(self._graph.logits.root)] = len(self._graph.nodes)

    def _share(self) -> None:
        """Values that are written over one of their inputs: where the op works in place, or where the input ends."""
        for index, node in enumerate(self._graph.nodes):
            if node.in_place is not None:
                self._move_in(node.outputs()[0], getattr(node, node.in_place))
                continue
            found = (getattr(node, name) for name in node.overwrites)
            for source in (value for value in found if value is not None):
                if self._fits(node.outputs()[0], source, index):
                    self._move_in(node.outputs()[0], source)
                    break

    def _fits(self, dst: Value, source: Value, index: int) -> bool:
        """Whether ``dst`` may take the whole memory of ``source``, which op ``index`` is the last to read."""
        owner, col = self._find(source)
        if source.base is not None or dst.base is not None or col or dst is self._graph.logits:
            return False
        same = (owner.width, owner.format, owner.domain) == (dst.width, dst.format, dst.domain)
        return same and self._last[id(owner)] == index

    def _move_in(self, dst: Value, source: Value) -> None:
        owner, col = self._find(source)
        self._moved[id(dst)] = (owner, col)
        self._last[id(owner)] = max(self._last[id(owner)], self._last[id(dst)])

    def _find(self, value: Value) -> tuple[Value, int]:
        """The root that owns the memory of ``value``, and the column there."""
        owner, col = self._moved.get(id(value.root), (value.root, 0))
        return owner, col + value.root_col

    def stride(self, value: Value) -> int:
        """Bytes from row to row of the buffer in which ``value`` lies."""
        owner, _ = self._find(value)
        if owner.format == Format.Q8A:
            return q8a_row_bytes(owner.width)
        return f32_row_bytes(align(owner.width, TILE_ROWS) if owner is self._graph.logits else owner.width)

    def _bytes(self, value: Value) -> int:
        rows = self._options.max_rows if value.domain == Domain.ROWS else self._options.max_logit_rows
        return rows * self.stride(value)

    def operand(self, value: Value | None) -> dict[str, int]:
        """The value as an op's operand, after placing."""
        if value is None:
            return dict(NO_OPERAND)
        owner, col = self._find(value)
        offset = self.buffers[id(owner)].offset
        return {
            "space": Space.ARENA,
            "offset": offset // ARENA_UNIT,
            "stride": self.stride(value) // ARENA_UNIT,
            "col": col,
        }
