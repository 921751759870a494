# SPDX-License-Identifier: Apache-2.0
"""From the record of a decoder to its graph; what a file must hold follows from a dry run of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from host.errors import SourceError
from host.families.parts.decoder import Attention, Decoder, Head, HeadNorm, Layer, QkvOrder, Residual
from host.files.source import RawTensor, RowChoice
from host.ir.builder import Builder
from host.ir.graph import Graph
from host.ir.lowering import KvSpec
from host.ir.value import F32Array, Value, Vector, Weight
from host.ops.attention import attention, attention_over_all
from host.ops.cap import cap
from host.ops.eltwise import activate, add, multiply
from host.ops.embed import embed
from host.ops.gather import gather
from host.ops.linear import linear
from host.ops.norm import NormKind, norm
from host.ops.pool import pool
from host.ops.rope import rope
from host.ops.rope_table import rope_table
from host.schema.image import Activation

SMALLEST_EPS = 1e-30
"""What the firmware takes at least."""
Shapes = dict[str, tuple[int, ...]]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Some rows of a tensor. ``order`` makes their indices, for tensors that are there alone: configs may lie."""

    count: int
    order: Callable[[], Rows]

    @staticmethod
    def span(first: int, count: int) -> Part:
        """Rows one behind the other."""
        return Part(count, lambda: np.arange(first, first + count))


class Tensors(Protocol):
    """Where a graph's weights come from. ``part``: these rows of the tensor alone, under the name ``label``."""

    def weight(self, name: str, rows: int, cols: int, part: Part | None = None, label: str = "") -> Weight:
        """The tensor ``name``.weight [rows][cols] (outputs, inputs)."""

    def vector(self, name: str, size: int, part: Part | None = None, label: str = "") -> Vector:
        """The tensor ``name`` [size]."""

    def constant(self, name: str, size: int, value: float) -> Vector:
        """No tensor: ``size`` times the same number."""


@dataclass
class Stored:
    """The tensors of a file. SourceError names those that are missing or of another shape."""

    tensors: Mapping[str, RawTensor]
    where: str

    def _find(self, name: str, shape: tuple[int, ...]) -> RawTensor:
        tensor = self.tensors.get(name)
        if tensor is None:
            raise SourceError(f"tensor {name} is missing in {self.where}; the file is incomplete or not a causal LM")
        if tuple(tensor.shape) != shape:
            raise SourceError(f"tensor {name} is {list(tensor.shape)} where the config asks for {list(shape)}")
        return tensor

    def weight(self, name: str, rows: int, cols: int, part: Part | None = None, label: str = "") -> Weight:
        """See `Tensors`."""
        found = Weight(f"{name}.weight", (self._find(f"{name}.weight", (rows, cols)),))
        return found if part is None else found.take(f"{label}.weight", part.order())

    def vector(self, name: str, size: int, part: Part | None = None, label: str = "") -> Vector:
        """See `Tensors`."""
        values = self._find(name, (size,)).float32()
        return Vector(name, values) if part is None else Vector(label, values[part.order()])

    def constant(self, name: str, size: int, value: float) -> Vector:
        """See `Tensors`."""
        return Vector(name, np.full(size, value, np.float32))


@dataclass(frozen=True)
class _Absent:
    """A tensor of which nothing but its shape is known."""

    name: str
    shape: tuple[int, ...]

    def rows(self, which: RowChoice) -> RawTensor:
        raise AssertionError(f"{self.name} was read in a dry run: {which}")

    def float32(self) -> F32Array:
        raise AssertionError(f"{self.name} was read in a dry run")

    def blocks(self) -> None:
        raise AssertionError(f"{self.name} was read in a dry run")


@dataclass
class Recorder:
    """Stands in for the tensors and keeps what was asked for. Nothing is allocated, whatever a config says."""

    shapes: Shapes

    def weight(self, name: str, rows: int, cols: int, part: Part | None = None, label: str = "") -> Weight:
        """See `Tensors`."""
        self.shapes[f"{name}.weight"] = (rows, cols)
        return Weight(label, (_Absent(name, (rows if part is None else part.count, cols)),))

    def vector(self, name: str, size: int, part: Part | None = None, label: str = "") -> Vector:
        """See `Tensors`."""
        del part
        self.shapes[name] = (size,)
        return Vector(label, np.zeros(0, np.float32))

    def constant(self, name: str, size: int, value: float) -> Vector:
        """See `Tensors`. Nothing is made."""
        del size, value
        return Vector(name, np.zeros(0, np.float32))


def shapes(decoder: Decoder) -> Shapes:
    """Every tensor of a model with its shape, by name: what building its graph asks for."""
    recorder = Recorder({})
    build(decoder, recorder)
    return recorder.shapes


def build(decoder: Decoder, tensors: Tensors, context: int | None = None) -> Graph:
    """The unfused graph for a context of so many positions. SourceError names what is missing or of another shape."""
    return _Build(decoder, tensors, context).run()


def qkv_rows(a: Attention) -> dict[str, Part]:
    """Which rows of one tensor for all three are queries, keys and values ("q", "k", "v"), in the order of heads."""
    group = a.heads // a.kv_heads if a.order == QkvOrder.GROUPS else a.heads
    shared = 1 if a.order == QkvOrder.GROUPS else a.kv_heads

    def part(first: int, heads: int, all_heads: int) -> Part:
        def order() -> Rows:
            rows = np.arange((a.heads + 2 * a.kv_heads) * a.head_dim).reshape(-1, group + 2 * shared, a.head_dim)
            return np.ascontiguousarray(rows[:, first : first + heads]).reshape(-1)

        return Part(all_heads * a.head_dim, order)

    return {
        "q": part(0, group, a.heads),
        "k": part(group, shared, a.kv_heads),
        "v": part(group + shared, shared, a.kv_heads),
    }


@dataclass(frozen=True)
class Shifted:
    """A tensor to each of whose rows the first row of another one is added, when it is read."""

    name: str
    base: Weight
    row: Weight

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return (self.base.rows, self.base.cols)

    def float32(self) -> F32Array:
        """The sums, f32."""
        return np.asarray(self.base.float32() + self.row.float32()[0])

    def rows(self, which: RowChoice) -> RawTensor:
        """These rows of it."""
        return Shifted(self.name, self.base.take(self.base.name, np.arange(self.base.rows)[which]), self.row)

    def blocks(self) -> None:
        """Sums are stored nowhere."""


def _changed(vector: Vector, offset: float, factor: float) -> Vector:
    """(vector + offset) * factor, in f32."""
    if offset:
        vector = Vector(vector.name, vector.values + np.float32(offset))
    return vector if factor == 1.0 else Vector(vector.name, vector.values * np.float32(factor))


class _Build:
    """One run over a decoder."""

    def __init__(self, decoder: Decoder, tensors: Tensors, context: int | None) -> None:
        usual = decoder.usual_context or decoder.context
        self.context = usual if context is None else context
        self.d, self.names, self.tensors = decoder, decoder.names, tensors
        learned = decoder.names.positions is not None
        self.graph = Graph(decoder.vocab, decoder.width, len(decoder.layers), decoder.context, learned, usual)
        if decoder.head is not None:
            self.graph.output, self.graph.whole = decoder.head.kind, True
            self.graph.one_result = bool(decoder.head.pool)
        self.b = Builder(self.graph)

    def run(self) -> Graph:
        """Embedding, layers, output."""
        d, names = self.d, self.names
        table = self.tensors.weight(names.embedding, d.vocab, d.width)
        x = embed(self.b, table, self.positions(), d.embedding_scale / d.residual_scale)  # [rows][width]
        x = self.norm("", names.embedding_norm, x)
        for i, layer in enumerate(d.layers):
            x = self.layer(names.layer.format(i), names.label.format(i), layer, x)
        self.graph.logits = self.logits(table, x) if d.head is None else self.head(d.head, x)
        return self.graph

    def logits(self, table: Weight, x: Value) -> Value:
        """Of the rows that want them: [wanted rows][vocab]."""
        d, names = self.d, self.names
        x = self.stream_norm("", names.final, gather(self.b, x), d.logit_scale)
        head = table if d.tied else self.tensors.weight(names.head, d.vocab, d.width)
        bias = self.tensors.vector(f"{names.head}.bias", d.vocab) if d.head_bias else None
        logits = linear(self.b, "logits", x, head, bias, output=True)
        return cap(self.b, "capped_logits", logits, d.logit_cap) if d.logit_cap else logits

    def head(self, head: Head, x: Value) -> Value:
        """Of sequences, or of their rows: [wanted rows][result]."""
        x = self.stream_norm("", self.names.final, x)
        x = pool(self.b, "pooled", x, head.pool) if head.pool else gather(self.b, x)
        for i, dense in enumerate(head.dense):
            label = f"head.{i}"
            x = self.linear(label, dense.name, x, dense.width, dense.bias)
            if dense.activation != Activation.NONE:
                x = activate(self.b, f"{label}.act", x, dense.activation)
            x = self.norm("", dense.norm, x)
        if not head.unit:
            return x
        return norm(
            self.b, "unit", x, NormKind.RMS, SMALLEST_EPS, self.tensors.constant("unit.weight", x.width, x.width**-0.5)
        )

    def positions(self) -> Weight | None:
        """Learned positions [context][width], the first token type added."""
        name, first, count = self.names.positions, self.d.position_offset, self.d.context
        if name is None:
            return None
        kept = Part.span(first, count) if first else None
        found = self.tensors.weight(name, first + count, self.d.width, kept, name)
        if self.names.token_types is None:
            return found
        types = self.tensors.weight(self.names.token_types, self.d.token_types, self.d.width)
        return Weight(f"{found.name} + {types.name}", (Shifted(f"{found.name} + {types.name}", found, types),))

    def layer(self, at: str, label: str, layer: Layer, x: Value) -> Value:
        """Both blocks: [rows][width]."""
        names, residual = self.names, self.d.residual
        before = names.before_attention if layer.normed else None
        h = x if residual == Residual.POST else self.stream_norm(at, before, x)
        apart = residual == Residual.PARALLEL and names.before_mlp is not None
        beside = self.stream_norm(at, names.before_mlp, x) if apart else h
        mixed = self.norm(at, names.after_attention, self.attention(at, label, layer, h))
        x = add(self.b, f"{label}attn_residual", x, mixed)
        if residual == Residual.POST:
            x = self.norm(at, names.before_attention, x)
        h = self.stream_norm(at, names.before_mlp, x) if residual == Residual.PRE else x
        inner = self.mlp(at, label, beside if residual == Residual.PARALLEL else h)
        x = add(self.b, f"{label}mlp_residual", x, self.norm(at, names.after_mlp, inner))
        return self.norm(at, names.before_mlp, x) if residual == Residual.POST else x

    def stream_norm(self, at: str, name: str | None, x: Value, factor: float = 1.0) -> Value:
        """A norm of what runs through all layers divided by residual_scale."""
        return self.norm(at, name, x, factor, self.d.norm.eps / self.d.residual_scale**2)

    def norm(
        self, at: str, name: str | None, x: Value, factor: float = 1.0, eps: float | None = None, segments: int = 1
    ) -> Value:
        """The norm of that name, times ``factor``; x as it is where the family has none."""
        if name is None:
            return x
        kind, full, width = self.d.norm, at + name, x.width // segments
        weight = _changed(self.tensors.vector(f"{full}.weight", width), kind.offset, factor)
        bias = _changed(self.tensors.vector(f"{full}.bias", width), 0.0, factor) if kind.bias else None
        return norm(self.b, full, x, kind.kind, kind.eps if eps is None else eps, weight, bias, segments)

    def linear(self, label: str, name: str, x: Value, rows: int, bias: bool) -> Value:
        """The product of a whole tensor and x, plus its bias."""
        weight = self.tensors.weight(name, rows, x.width)
        return linear(self.b, label, x, weight, self.tensors.vector(f"{name}.bias", rows) if bias else None)

    def part(self, label: str, name: str, x: Value, whole: int, part: Part, bias: bool) -> Value:
        """The product of some rows of a tensor that has ``whole`` rows, and x, plus their bias."""
        weight = self.tensors.weight(name, whole, x.width, part, label)
        shift = self.tensors.vector(f"{name}.bias", whole, part, f"{label}.bias") if bias else None
        return linear(self.b, label, x, weight, shift)

    def qkv(self, at: str, label: str, x: Value) -> list[Value]:
        """Queries [rows][heads * head_dim], keys and values [rows][kv_heads * head_dim]."""
        a, names = self.d.attention, self.names
        q, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
        if names.qkv is None:
            each = (("q", names.q, q), ("k", names.k, kv), ("v", names.v, kv))
            return [self.linear(label + letter, at + name, x, rows, a.qkv_bias) for letter, name, rows in each]
        return [
            self.part(label + letter, at + names.qkv, x, q + 2 * kv, rows, a.qkv_bias)
            for letter, rows in qkv_rows(a).items()
        ]

    def attention(self, at: str, label: str, layer: Layer, x: Value) -> Value:
        """The block that mixes positions: [rows][width]."""
        a = self.d.attention
        q, k, v = self.qkv(at, label, x)
        whole = a.norm == HeadNorm.WHOLE
        q = self.norm(at, self.names.q_norm, q, segments=1 if whole else a.heads)
        k = self.norm(at, self.names.k_norm, k, segments=1 if whole else a.kv_heads)
        if layer.rope is not None:
            table = rope_table(self.b, Vector("rope_frequencies", layer.rope.array(self.context)), layer.rope.scale)
            q = rope(self.b, q, table, a.heads, a.head_dim)
            k = rope(self.b, k, table, a.kv_heads, a.head_dim)
        if self.graph.whole:  # keys and values are read within the layer that makes them: all layers have one cache
            spec = KvSpec(a.kv_heads, a.head_dim)
            mixed = attention_over_all(self.b, f"{label}attention", q, k, v, spec, a.heads, layer.scale, layer.window)
            return self.linear(f"{label}o", at + self.names.o, mixed, self.d.width, a.o_bias)
        spec = KvSpec(a.kv_heads, a.head_dim, layer.window)
        mixed = attention(self.b, f"{label}attention", q, k, v, spec, a.heads, layer.scale, a.softcap)
        return self.linear(f"{label}o", at + self.names.o, mixed, self.d.width, a.o_bias)

    def mlp(self, at: str, label: str, x: Value) -> Value:
        """The feed-forward block."""
        m, names = self.d.mlp, self.names
        inner = self.gated(at, label, x) if names.gate or names.gate_up else self.plain(at, label, x)
        return self.linear(f"{label}down", at + names.down, inner, self.d.width, m.bias)

    def gated(self, at: str, label: str, x: Value) -> Value:
        """activation(gate x) * up x: [rows][mlp.width]."""
        m, names = self.d.mlp, self.names

        def project(name: str, alone: str, first: int) -> Value:
            if names.gate_up is None:
                return self.linear(label + name, at + alone, x, m.width, m.bias)
            rows = Part.span(first, m.width)
            return self.part(label + name, at + names.gate_up, x, 2 * m.width, rows, m.bias)

        gate = activate(self.b, f"{label}act", project("gate", names.gate or "", 0), m.activation)
        return multiply(self.b, f"{label}gated", gate, project("up", names.up, m.width))

    def plain(self, at: str, label: str, x: Value) -> Value:
        """activation(up x): [rows][mlp.width]."""
        m = self.d.mlp
        return activate(
            self.b, f"{label}act", self.linear(f"{label}up", at + self.names.up, x, m.width, m.bias), m.activation
        )
