# SPDX-License-Identifier: Apache-2.0
"""Lowering: every node of the graph becomes one op record; every value a place in the arena; every weight a tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from host.compiler.memory import Buffer, plan_arena
from host.ir.graph import (
    Attention,
    Elementwise,
    Embed,
    Gather,
    Graph,
    KvStore,
    Linear,
    Node,
    Norm,
    Quantize,
    Rope,
    RopeTable,
    Value,
    Vector,
    Weight,
)
from host.schema.image import (
    ARENA_UNIT,
    NO_TENSOR,
    OP_BYTES,
    OP_VERSIONS,
    OPS,
    TENSOR_ALIGN,
    TILE_ROWS,
    Domain,
    Format,
    Layout,
    OpHead,
    OpId,
    Overflow,
    Space,
    align,
    f32_row_bytes,
    page_bytes,
    partial_chunks,
    q8a_row_bytes,
    state_pages,
    tensor_bytes,
)

NO_OPERAND = {"space": Space.NONE, "offset": 0, "stride": 0, "col": 0}


@dataclass(frozen=True)
class Shape:
    """What the plan fixes: positions, rows of a step, sessions, cache format and what a full context does."""

    context: int
    sessions: int
    max_rows: int
    max_logit_rows: int
    kv_format: Format
    overflow: Overflow
    sinks: int


@dataclass(frozen=True)
class TensorSpec:
    """One entry of the tensor table; ``contents`` is evaluated when the image is written."""

    name: str
    format: Format
    layout: Layout
    rows: int
    cols: int
    offset: int
    contents: Weight | Vector

    @property
    def size(self) -> int:
        """Bytes in WEIGHTS."""
        return tensor_bytes(self.format, self.layout, self.rows, self.cols)


@dataclass(frozen=True)
class StateRecord:
    """One entry of the state table, in the image's terms."""

    format: Format
    kv_heads: int
    head_dim: int
    window: int
    sinks: int
    pages: int
    page_bytes: int


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


@dataclass
class Tensors:
    """The tensor table as it grows; equal contents in one format are stored once."""

    layout: Layout
    specs: list[TensorSpec] = field(default_factory=list)
    _known: dict[tuple[str, Format, Layout, int], int] = field(default_factory=dict)
    _end: int = 0

    def matrix(self, weight: Weight, fmt: Format) -> int:
        """Index of a tiled weight. Floats have one order for both kernel families."""
        layout = Layout.RVV if fmt in (Format.F32, Format.BF16) else self.layout
        return self._add(weight.name, fmt, layout, weight.rows, weight.cols, weight)

    def plain(self, weight: Weight, fmt: Format) -> int:
        """Index of a row-major table."""
        return self._add(weight.name, fmt, Layout.PLAIN, weight.rows, weight.cols, weight)

    def vector(self, vector: Vector | None, size: int = 0) -> int:
        """Index of a vector, padded with zeros to ``size``; NO_TENSOR for None."""
        if vector is None:
            return NO_TENSOR
        if size > len(vector.values):
            vector = Vector(vector.name, np.pad(vector.values, (0, size - len(vector.values))))
        return self._add(vector.name, Format.F32, Layout.PLAIN, 1, len(vector.values), vector)

    def _add(self, name: str, fmt: Format, layout: Layout, rows: int, cols: int, contents: Weight | Vector) -> int:
        key = (contents.key, fmt, layout, rows)
        if key not in self._known:
            spec = TensorSpec(name, fmt, layout, rows, cols, self._end, contents)
            self._known[key] = len(self.specs)
            self.specs.append(spec)
            self._end = align(self._end + spec.size, TENSOR_ALIGN)
        return self._known[key]


def state_records(graph: Graph, shape: Shape) -> list[StateRecord]:
    """The KV caches of the graph's layers. Under SLIDE every full-attention layer becomes a window behind the sinks."""
    records = []
    for spec in graph.states:
        window, sinks = spec.window, 0
        if shape.overflow == Overflow.SLIDE:
            sinks = shape.sinks
            window = min(window or shape.context, shape.context - sinks)
        pages = state_pages(shape.context, shape.max_rows, window, sinks, shape.overflow)
        size = page_bytes(shape.kv_format, spec.kv_heads, spec.head_dim)
        records.append(StateRecord(shape.kv_format, spec.kv_heads, spec.head_dim, window, sinks, pages, size))
    return records


class Places:
    """Where each value lies: values that share memory are one buffer, and the planner places the buffers."""

    def __init__(self, graph: Graph, shape: Shape) -> None:
        self._graph = graph
        self._shape = shape
        self._roots: dict[int, Value] = {}
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._home: dict[int, tuple[Value, int]] = {}
        """By root: the root whose memory it lies in, and the column there. Absent: its own."""
        self._lifetimes()
        self._share()
        self.buffers = {
            id(root): Buffer(root.name, self._bytes(root), self._first[id(root)], self._last[id(root)])
            for root in self._roots.values()
            if id(root) not in self._home
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
        """Values that are written over one of their inputs: always the rotated heads, others where the input ends."""
        for index, node in enumerate(self._graph.nodes):
            if isinstance(node, Rope):
                self._move_in(node.dst, node.x)
                continue
            for source in self._overwritable(node):
                if self._fits(node.outputs()[0], source, index):
                    self._move_in(node.outputs()[0], source)
                    break

    def _overwritable(self, node: Node) -> list[Value]:
        if isinstance(node, Elementwise):
            return [value for value in (node.a, node.b) if value is not None]
        if isinstance(node, Linear) and node.residual is not None:
            return [node.residual]
        return [node.src] if isinstance(node, Norm) else []

    def _fits(self, dst: Value, source: Value, index: int) -> bool:
        """Whether ``dst`` may take the whole memory of ``source``, which op ``index`` is the last to read."""
        owner, col = self._find(source)
        if source.base is not None or dst.base is not None or col or dst is self._graph.logits:
            return False
        same = (owner.width, owner.format, owner.domain) == (dst.width, dst.format, dst.domain)
        return same and self._last[id(owner)] == index

    def _move_in(self, dst: Value, source: Value) -> None:
        owner, col = self._find(source)
        self._home[id(dst)] = (owner, col)
        self._last[id(owner)] = max(self._last[id(owner)], self._last[id(dst)])

    def _find(self, value: Value) -> tuple[Value, int]:
        """The root that owns the memory of ``value``, and the column there."""
        owner, col = self._home.get(id(value.root), (value.root, 0))
        return owner, col + value.root_col

    def stride(self, value: Value) -> int:
        """Bytes from row to row of the buffer in which ``value`` lies."""
        owner, _ = self._find(value)
        if owner.format == Format.Q8A:
            return q8a_row_bytes(owner.width)
        return f32_row_bytes(align(owner.width, TILE_ROWS) if owner is self._graph.logits else owner.width)

    def _bytes(self, value: Value) -> int:
        rows = self._shape.max_rows if value.domain == Domain.ROWS else self._shape.max_logit_rows
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


class Lowering:
    """One run over a legal graph."""

    def __init__(self, graph: Graph, shape: Shape, layout: Layout) -> None:
        self.graph, self.shape = graph, shape
        self.tensors = Tensors(layout)
        self.states = state_records(graph, shape)
        self.places = Places(graph, shape)
        self._partials = self._partial_buffers()
        self._emitters: dict[type[Node], tuple[OpId, Callable[[Any], dict[str, Any]]]] = {
            Embed: (OpId.EMBED, self._embed),
            Norm: (OpId.NORM, self._norm),
            Quantize: (OpId.QUANTIZE, self._quantize),
            Linear: (OpId.LINEAR, self._linear),
            RopeTable: (OpId.ROPE_TABLE, self._rope_table),
            Rope: (OpId.ROPE, self._rope),
            KvStore: (OpId.KV_STORE, self._kv_store),
            Attention: (OpId.ATTENTION, self._attention),
            Elementwise: (OpId.ELTWISE, self._elementwise),
            Gather: (OpId.GATHER, self._gather),
        }

    def run(self) -> Lowered:
        """Place the buffers, then write the records."""
        logits = self.graph.logits
        if logits is None:
            raise AssertionError("a graph without logits cannot be lowered")
        buffers = [*self.places.buffers.values(), *self._partials.values()]
        arena = plan_arena(buffers)
        ops = [self._record(node) for node in self.graph.nodes]
        place = self.places.operand(logits)
        return Lowered(ops, self.tensors.specs, self.states, buffers, arena, place["offset"], place["stride"])

    def _record(self, node: Node) -> bytes:
        op, emit = self._emitters[type(node)]
        domain = node.outputs()[0].domain if node.outputs() else Domain.ROWS
        head: bytes = OpHead.build({"id": op, "version": OP_VERSIONS[op], "domain": domain})
        body: bytes = OPS[op].build(emit(node))
        return (head + body).ljust(OP_BYTES, b"\0")

    def _partial_buffers(self) -> dict[int, Buffer]:
        found = {}
        for index, node in enumerate(self.graph.nodes):
            if isinstance(node, Attention):
                state = self.states[node.state]
                chunks = partial_chunks(self.shape.context, state.window, state.sinks, self.shape.overflow)
                size = node.heads * chunks * align(state.head_dim + 2, 16) * 4
                found[id(node)] = Buffer(f"{node.dst.name}.partial", size, index, index)
        return found

    def _embed(self, n: Embed) -> dict[str, Any]:
        positions = NO_TENSOR
        if n.positions is not None:
            kept = n.positions.take(n.positions.name, np.arange(self.shape.context))
            positions = self.tensors.plain(kept, Format.F32)
        return {
            "dst": self.places.operand(n.dst),
            "table": self.tensors.matrix(n.table, n.format),
            "positions": positions,
            "dim": n.dst.width,
            "scale": n.scale,
        }

    def _norm(self, n: Norm) -> dict[str, Any]:
        return {
            "src": self.places.operand(n.src),
            "dst": self.places.operand(n.dst),
            "weight": self.tensors.vector(n.weight),
            "bias": self.tensors.vector(n.bias),
            "kind": n.kind,
            "width": n.src.width // n.segments,
            "segments": n.segments,
            "eps": n.eps,
            "dst_format": n.dst.format,
        }

    def _quantize(self, n: Quantize) -> dict[str, Any]:
        return {"src": self.places.operand(n.src), "dst": self.places.operand(n.dst), "width": n.src.width}

    def _linear(self, n: Linear) -> dict[str, Any]:
        return {
            "src": self.places.operand(n.src),
            "dst": self.places.operand(n.dst),
            "residual": self.places.operand(n.residual),
            "weight": self.tensors.matrix(n.weight, n.format),
            "bias": self.tensors.vector(n.bias, align(n.weight.rows, TILE_ROWS)),
            "src_format": n.src.format,
            "k": n.src.width,
            "n": n.dst.width,
            "activation": n.activation,
            "gated": int(n.gated),
        }

    def _rope_table(self, n: RopeTable) -> dict[str, Any]:
        return {
            "dst": self.places.operand(n.dst),
            "frequencies": self.tensors.vector(n.frequencies),
            "half": len(n.frequencies.values),
            "scale": n.scale,
        }

    def _rope(self, n: Rope) -> dict[str, Any]:
        return {
            "x": self.places.operand(n.x),
            "table": self.places.operand(n.table),
            "heads": n.heads,
            "head_dim": n.head_dim,
            "rotary": n.rotary,
            "style": n.style,
        }

    def _kv_store(self, n: KvStore) -> dict[str, Any]:
        return {"k": self.places.operand(n.k), "v": self.places.operand(n.v), "state": n.state}

    def _attention(self, n: Attention) -> dict[str, Any]:
        partial = self._partials[id(n)]
        return {
            "q": self.places.operand(n.q),
            "dst": self.places.operand(n.dst),
            "partial": {
                "space": Space.ARENA,
                "offset": partial.offset // ARENA_UNIT,
                "stride": partial.size // ARENA_UNIT,
                "col": 0,
            },
            "state": n.state,
            "heads": n.heads,
            "scale": n.scale,
            "softcap": n.softcap,
        }

    def _elementwise(self, n: Elementwise) -> dict[str, Any]:
        return {
            "a": self.places.operand(n.a),
            "b": self.places.operand(n.b),
            "dst": self.places.operand(n.dst),
            "tensor": self.tensors.vector(n.tensor),
            "kind": n.kind,
            "activation": n.activation,
            "width": n.dst.width,
        }

    def _gather(self, n: Gather) -> dict[str, Any]:
        return {"src": self.places.operand(n.src), "dst": self.places.operand(n.dst), "width": n.src.width}
