# SPDX-License-Identifier: Apache-2.0
"""Decoders: one record says what one of them computes, and one function builds its graph, for all families.

    x = embedding_scale * embed(tokens) (+ positions)
    in each layer:
        x = x + residual_scale * after(attention(before(x)))
        x = x + residual_scale * after(mlp(before(x)))
    logits = logit_scale * head(final(x))

``before`` and ``after`` are norms; a family that has no name for one of them has no such norm. The scales cost nothing
on a device: logit_scale goes into the weight of the last norm; residual_scale into everything else, for x is kept
divided by it, which norms do not see but for their eps.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from host.errors import SourceError
from host.families.parts.rope import Rope
from host.files.source import RawTensor
from host.ir.builder import Builder
from host.ir.graph import Graph
from host.ir.lowering import KvSpec
from host.ir.value import F32Array, Value, Vector, Weight
from host.ops.attention import attention
from host.ops.eltwise import activate, add, multiply
from host.ops.embed import embed
from host.ops.gather import gather
from host.ops.linear import linear
from host.ops.norm import NormKind, norm
from host.ops.rope import rope
from host.ops.rope_table import rope_table
from host.schema.image import Activation

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Names:
    """What tensors are called, without ".weight" and ".bias". None: a model of the family has no such tensor."""

    embedding: str = "model.embed_tokens"
    positions: str | None = None
    """Learned positions [context][width]."""
    layer: str = "model.layers.{}."
    """What stands before all names below but the last two; {} is the layer."""
    before_attention: str | None = "input_layernorm"
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    qkv: str | None = None
    """One tensor in place of the three, their rows one after the other."""
    q_norm: str | None = None
    k_norm: str | None = None
    """Norms of queries and keys before they are rotated."""
    o: str = "self_attn.o_proj"
    after_attention: str | None = None
    before_mlp: str | None = "post_attention_layernorm"
    gate: str | None = "mlp.gate_proj"
    """None: the feed-forward block has no gate."""
    up: str = "mlp.up_proj"
    gate_up: str | None = None
    """One tensor in place of the two, their rows one after the other."""
    down: str = "mlp.down_proj"
    after_mlp: str | None = None
    final: str = "model.norm"
    head: str = "lm_head"
    label: str = "{}."
    """What stands before the names of a layer's values in the graph."""


@dataclass(frozen=True)
class Norm:
    """What the norms have in common."""

    kind: NormKind
    eps: float
    bias: bool = False
    offset: float = 0.0
    """What is added to the stored weight: 1 where a file holds its distance from one."""


class HeadNorm(enum.Enum):
    """Over what the norms of queries and keys run, where a family has them."""

    EACH = "each head, all with one weight"
    WHOLE = "all heads at once"


@dataclass(frozen=True)
class Attention:
    """What the attention blocks of all layers have in common."""

    heads: int
    kv_heads: int
    head_dim: int
    norm: HeadNorm = HeadNorm.EACH
    qkv_bias: bool = False
    o_bias: bool = False


@dataclass(frozen=True)
class Mlp:
    """A feed-forward block: down(activation(gate x) * up x), without a gate down(activation(up x))."""

    width: int
    activation: Activation
    bias: bool = False


@dataclass(frozen=True)
class Layer:
    """What may differ from layer to layer."""

    scale: float
    """What multiplies the product of a query and a key, before the softmax."""
    rope: Rope | None
    """None: heads are not rotated."""
    window: int = 0
    """Positions that a row sees, itself among them; 0: all before it."""


@dataclass(frozen=True)
class Decoder:
    """What one model computes. Two files of one model give equal records."""

    vocab: int
    width: int
    context: int
    """The longest sequence, in positions."""
    norm: Norm
    attention: Attention
    mlp: Mlp
    layers: tuple[Layer, ...]
    tied: bool
    """Whether the output matrix is the embedding."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    names: Names = Names()


class Tensors(Protocol):
    """Where a graph's weights come from. ``part``: these rows of the tensor alone, under the name ``label``."""

    def weight(self, name: str, rows: int, cols: int, part: range | None = None, label: str = "") -> Weight:
        """The tensor ``name``.weight [rows][cols] (outputs, inputs)."""

    def vector(self, name: str, size: int, part: range | None = None, label: str = "") -> Vector:
        """The tensor ``name`` [size]."""


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

    def weight(self, name: str, rows: int, cols: int, part: range | None = None, label: str = "") -> Weight:
        """See `Tensors`."""
        found = Weight(f"{name}.weight", (self._find(f"{name}.weight", (rows, cols)),))
        return found if part is None else found.take(f"{label}.weight", np.arange(part.start, part.stop))

    def vector(self, name: str, size: int, part: range | None = None, label: str = "") -> Vector:
        """See `Tensors`."""
        values = self._find(name, (size,)).float32()
        return Vector(name, values) if part is None else Vector(label, values[part.start : part.stop])


@dataclass(frozen=True)
class _Absent:
    """A tensor of which nothing but its shape is known."""

    name: str
    shape: tuple[int, ...]

    def float32(self) -> F32Array:
        raise AssertionError(f"{self.name} was read in a dry run")

    def blocks(self) -> None:
        raise AssertionError(f"{self.name} was read in a dry run")


@dataclass
class Recorder:
    """Stands in for the tensors and keeps what was asked for. Nothing is allocated, whatever a config says."""

    shapes: Shapes

    def weight(self, name: str, rows: int, cols: int, part: range | None = None, label: str = "") -> Weight:
        """See `Tensors`."""
        self.shapes[f"{name}.weight"] = (rows, cols)
        return Weight(label, (_Absent(name, (rows if part is None else len(part), cols)),))

    def vector(self, name: str, size: int, part: range | None = None, label: str = "") -> Vector:
        """See `Tensors`."""
        del part
        self.shapes[name] = (size,)
        return Vector(label, np.zeros(0, np.float32))


def shapes(decoder: Decoder) -> Shapes:
    """Every tensor of a model with its shape, by name: what building its graph asks for."""
    recorder = Recorder({})
    build(decoder, recorder)
    return recorder.shapes


def build(decoder: Decoder, tensors: Tensors) -> Graph:
    """The unfused graph. SourceError names what is missing or of another shape."""
    return _Build(decoder, tensors).run()


def _changed(vector: Vector, offset: float, factor: float) -> Vector:
    """(vector + offset) * factor, in f32."""
    if offset:
        vector = Vector(vector.name, vector.values + np.float32(offset))
    return vector if factor == 1.0 else Vector(vector.name, vector.values * np.float32(factor))


class _Build:
    """One run over a decoder."""

    def __init__(self, decoder: Decoder, tensors: Tensors) -> None:
        self.d, self.names, self.tensors = decoder, decoder.names, tensors
        learned = decoder.names.positions is not None
        self.graph = Graph(decoder.vocab, decoder.width, len(decoder.layers), decoder.context, learned)
        self.b = Builder(self.graph)

    def run(self) -> Graph:
        """Embedding, layers, output."""
        d, names = self.d, self.names
        table = self.tensors.weight(names.embedding, d.vocab, d.width)
        positions = self.tensors.weight(names.positions, d.context, d.width) if names.positions else None
        x = embed(self.b, table, positions, d.embedding_scale / d.residual_scale)  # [rows][width]
        for i, layer in enumerate(d.layers):
            at, label = names.layer.format(i), names.label.format(i)
            h = self.attention(at, label, layer, self.stream_norm(at, names.before_attention, x))
            x = add(self.b, f"{label}attn_residual", x, self.norm(at, names.after_attention, h))
            h = self.mlp(at, label, self.stream_norm(at, names.before_mlp, x))
            x = add(self.b, f"{label}mlp_residual", x, self.norm(at, names.after_mlp, h))
        x = self.stream_norm("", names.final, gather(self.b, x), d.logit_scale)
        head = table if d.tied else self.tensors.weight(names.head, d.vocab, d.width)
        self.graph.logits = linear(self.b, "logits", x, head, output=True)
        return self.graph

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

    def part(self, label: str, name: str, x: Value, whole: int, part: range, bias: bool) -> Value:
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
        parts = {"q": range(q), "k": range(q, q + kv), "v": range(q + kv, q + 2 * kv)}
        return [
            self.part(label + letter, at + names.qkv, x, q + 2 * kv, part, a.qkv_bias) for letter, part in parts.items()
        ]

    def attention(self, at: str, label: str, layer: Layer, x: Value) -> Value:
        """The block that mixes positions: [rows][width]."""
        a = self.d.attention
        q, k, v = self.qkv(at, label, x)
        whole = a.norm == HeadNorm.WHOLE
        q = self.norm(at, self.names.q_norm, q, segments=1 if whole else a.heads)
        k = self.norm(at, self.names.k_norm, k, segments=1 if whole else a.kv_heads)
        if layer.rope is not None:
            table = rope_table(self.b, Vector("rope_frequencies", layer.rope.array()), layer.rope.scale)
            q = rope(self.b, q, table, a.heads, a.head_dim)
            k = rope(self.b, k, table, a.kv_heads, a.head_dim)
        spec = KvSpec(a.kv_heads, a.head_dim, layer.window)
        mixed = attention(self.b, f"{label}attention", q, k, v, spec, a.heads, layer.scale)
        return self.linear(f"{label}o", at + self.names.o, mixed, self.d.width, a.o_bias)

    def mlp(self, at: str, label: str, x: Value) -> Value:
        """The feed-forward block."""
        m, names = self.d.mlp, self.names
        inner = self.gated(at, label, x) if names.gate or names.gate_up else self.plain(at, label, x)
        return self.linear(f"{label}down", at + names.down, inner, self.d.width, m.bias)

    def gated(self, at: str, label: str, x: Value) -> Value:
        """activation(gate x) * up x: [rows][mlp.width]."""
        m, names = self.d.mlp, self.names

        def project(name: str, alone: str, part: range) -> Value:
            if names.gate_up is None:
                return self.linear(label + name, at + alone, x, m.width, m.bias)
            return self.part(label + name, at + names.gate_up, x, 2 * m.width, part, m.bias)

        gate = activate(self.b, f"{label}act", project("gate", names.gate or "", range(m.width)), m.activation)
        return multiply(self.b, f"{label}gated", gate, project("up", names.up, range(m.width, 2 * m.width)))

    def plain(self, at: str, label: str, x: Value) -> Value:
        """activation(up x): [rows][mlp.width]."""
        m = self.d.mlp
        return activate(
            self.b, f"{label}act", self.linear(f"{label}up", at + self.names.up, x, m.width, m.bias), m.activation
        )
