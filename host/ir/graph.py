# SPDX-License-Identifier: Apache-2.0
"""The compiler's graph: a model as a list of nodes in order of execution over values that are written once.

Values are rows of numbers (one row per token of a step, or per wanted logits row). A value may be a *view*: some
columns of another one, as the queries are of a fused QKV product. Weights are references that are evaluated only when
the image is written, row block by row block, so that a pass can concatenate, interleave or select rows of tensors of
any size, and blocks that a GGUF stores in 4 or 8 bits still reach the image as they are.

Families build unfused graphs that read like the paper (host/families). Passes rewrite them
(host/compiler/passes.py). Lowering turns every node into one op record (host/compiler/lower.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from host.files.source import RawTensor
from host.schema.image import Activation, Domain, Eltwise, Format, NormKind, RopeStyle

F32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Weight:
    """Rows of one or more source tensors of equal width, in a given order, optionally with scaled columns.

    ``order`` holds indices into the concatenation of ``parts``' rows (None: all of them, as they are).
    ``column_scale`` [cols] multiplies the columns: a norm's weight that was folded in.
    """

    name: str
    parts: tuple[RawTensor, ...]
    order: npt.NDArray[np.int64] | None = None
    column_scale: F32Array | None = None

    @property
    def rows(self) -> int:
        """Logical rows (outputs)."""
        return sum(part.shape[0] for part in self.parts) if self.order is None else len(self.order)

    @property
    def cols(self) -> int:
        """Logical columns (inputs)."""
        return self.parts[0].shape[1]

    @property
    def key(self) -> str:
        """Equal for weights with equal contents by construction: such weights are stored once."""
        digest = hashlib.sha256("\0".join(part.name for part in self.parts).encode())
        for array in (self.order, self.column_scale):
            digest.update(b"-" if array is None else array.tobytes())
        return digest.hexdigest()

    @property
    def provenance(self) -> str:
        """In words, where the rows come from."""
        joined = " + ".join(part.name for part in self.parts)
        text = joined if self.order is None else f"{self.rows} rows of ({joined})"
        return text if self.column_scale is None else f"{text} * folded norm"

    def take(self, name: str, order: npt.NDArray[np.int64]) -> Weight:
        """The rows ``order`` of this weight, as a weight."""
        composed = order if self.order is None else self.order[order]
        return replace(self, name=name, order=composed)

    def scaled(self, scale: F32Array) -> Weight:
        """The weight with its columns multiplied by ``scale`` [cols]."""
        both = scale if self.column_scale is None else (self.column_scale * scale).astype(np.float32)
        return replace(self, column_scale=both)

    def float32(self) -> F32Array:
        """All rows as f32 [rows][cols]."""
        parts = [part.float32() for part in self.parts]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.order is not None:
            whole = whole[self.order]
        return whole if self.column_scale is None else whole * self.column_scale

    @staticmethod
    def concat(name: str, weights: Sequence[Weight]) -> Weight:
        """The rows of all ``weights`` one after the other. Their column scales must be the same."""
        parts: list[RawTensor] = []
        orders: list[npt.NDArray[np.int64]] = []
        base = 0
        for weight in weights:
            rows = sum(part.shape[0] for part in weight.parts)
            orders.append(base + (np.arange(rows) if weight.order is None else weight.order))
            parts += weight.parts
            base += rows
        plain = all(weight.order is None for weight in weights)
        return Weight(name, tuple(parts), None if plain else np.concatenate(orders), weights[0].column_scale)


@dataclass(frozen=True, eq=False)
class Vector:
    """A small f32 vector (bias, norm weight, frequencies), held in memory."""

    name: str
    values: F32Array

    @property
    def key(self) -> str:
        """Equal for vectors with equal contents."""
        return hashlib.sha256(self.values.tobytes()).hexdigest()


@dataclass(eq=False)
class Value:
    """Rows of ``width`` numbers. A view has a ``base`` and starts at its column ``col``."""

    name: str
    width: int
    domain: Domain = Domain.ROWS
    format: Format = Format.F32
    base: Value | None = None
    col: int = 0

    @property
    def root(self) -> Value:
        """The value that owns the storage."""
        return self if self.base is None else self.base.root

    @property
    def root_col(self) -> int:
        """First column within ``root``."""
        return self.col if self.base is None else self.col + self.base.root_col


@dataclass(frozen=True)
class StateSpec:
    """The KV cache of one attention layer. ``window``: positions attended to, 0 for all."""

    kv_heads: int
    head_dim: int
    window: int = 0


@dataclass(eq=False)
class Node:
    """One operation. ``reads`` and ``writes`` name the fields that hold its values."""

    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("dst",)
    effects: ClassVar[bool] = False
    """Whether it matters even when nobody reads what it writes."""

    def inputs(self) -> list[Value]:
        """Values read, absent optional ones left out."""
        return [value for name in self.reads if (value := getattr(self, name)) is not None]

    def outputs(self) -> list[Value]:
        """Values written."""
        return [getattr(self, name) for name in self.writes]

    def substitute(self, swap: Callable[[Value], Value]) -> None:
        """Replace every value read by ``swap`` of it."""
        for name in self.reads:
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, swap(value))


@dataclass(eq=False)
class Embed(Node):
    """dst = table[token] * scale (+ positions[position])."""

    dst: Value
    table: Weight
    positions: Weight | None = None
    scale: float = 1.0
    format: Format = Format.F32


@dataclass(eq=False)
class Norm(Node):
    """Each segment of ``src`` normalised, times weight, plus bias."""

    reads = ("src",)
    src: Value
    dst: Value
    kind: NormKind
    eps: float
    weight: Vector | None = None
    bias: Vector | None = None
    segments: int = 1


@dataclass(eq=False)
class Quantize(Node):
    """dst = src in int8 groups."""

    reads = ("src",)
    src: Value
    dst: Value


@dataclass(eq=False)
class Linear(Node):
    """dst = activation(weight src + bias) + residual; gated: activation(gate) * up + residual."""

    reads = ("src", "residual")
    src: Value
    dst: Value
    weight: Weight
    bias: Vector | None = None
    activation: Activation = Activation.NONE
    gated: bool = False
    residual: Value | None = None
    output: bool = False
    """Whether it makes the logits."""
    format: Format = Format.F32


@dataclass(eq=False)
class RopeTable(Node):
    """dst = cos and sin of position * frequency, times scale."""

    dst: Value
    frequencies: Vector
    scale: float = 1.0


@dataclass(eq=False)
class Rope(Node):
    """dst = x rotated; dst takes x's place in memory, so nobody may read x afterwards."""

    reads = ("x", "table")
    x: Value
    table: Value
    dst: Value
    heads: int
    head_dim: int
    rotary: int
    style: RopeStyle = RopeStyle.HALVES


@dataclass(eq=False)
class KvStore(Node):
    """Keys and values of the rows go to the cache of layer ``state``."""

    reads = ("k", "v")
    writes = ()
    effects = True
    k: Value
    v: Value
    state: int


@dataclass(eq=False)
class Attention(Node):
    """dst = attention of q over the cache of layer ``state``."""

    reads = ("q",)
    q: Value
    dst: Value
    state: int
    heads: int
    scale: float
    softcap: float = 0.0


@dataclass(eq=False)
class Elementwise(Node):
    """dst = a + b, a * b, act(a), act(a) * b or a + tensor."""

    reads = ("a", "b")
    a: Value
    dst: Value
    kind: Eltwise
    b: Value | None = None
    tensor: Vector | None = None
    activation: Activation = Activation.NONE


@dataclass(eq=False)
class Gather(Node):
    """dst = the rows of src whose logits are wanted."""

    reads = ("src",)
    src: Value
    dst: Value


@dataclass
class Graph:
    """A whole model. ``max_context`` is the model's own; ``learned_positions`` forbids going beyond it."""

    vocab: int
    dim: int
    layers: int
    max_context: int
    learned_positions: bool
    nodes: list[Node] = field(default_factory=list)
    states: list[StateSpec] = field(default_factory=list)
    logits: Value | None = None

    def readers(self, value: Value) -> list[Node]:
        """Nodes that read ``value`` itself (not a view of it)."""
        return [node for node in self.nodes if any(read is value for read in node.inputs())]

    def uses(self) -> dict[int, int]:
        """How often each value is read, directly or through a view, by ``id``; the logits count as read once."""
        count: dict[int, int] = {}
        values = [value for node in self.nodes for value in node.inputs()]
        for value in [*values, *([self.logits] if self.logits else [])]:
            at: Value | None = value
            while at is not None:
                count[id(at)] = count.get(id(at), 0) + 1
                at = at.base
        return count

    def makers(self) -> dict[int, Node]:
        """The node that writes each value, by the value's ``id``."""
        return {id(value): node for node in self.nodes for value in node.outputs()}


class Builder:
    """Appends nodes to a graph and names their values; what architectures are written with."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._domain = Domain.ROWS

    def _value(self, name: str, width: int) -> Value:
        return Value(name, width, self._domain)

    def embed(self, table: Weight, positions: Weight | None = None) -> Value:
        """[rows][dim] of the rows' tokens, plus learned positions."""
        dst = self._value("embed", table.cols)
        self.graph.nodes.append(Embed(dst, table, positions))
        return dst

    def norm(self, name: str, src: Value, kind: NormKind, eps: float, weight: Vector, bias: Vector | None) -> Value:
        """Norm over the whole row."""
        dst = self._value(name, src.width)
        self.graph.nodes.append(Norm(src, dst, kind, eps, weight, bias))
        return dst

    def linear(self, name: str, src: Value, weight: Weight, bias: Vector | None = None, output: bool = False) -> Value:
        """Product of weight [n][k] and src, then a bias as a node of its own."""
        dst = self._value(name, weight.rows)
        self.graph.nodes.append(Linear(src, dst, weight, output=output))
        return dst if bias is None else self._bias(dst, bias)

    def _bias(self, a: Value, bias: Vector) -> Value:
        dst = self._value(f"{a.name}.bias", a.width)
        self.graph.nodes.append(Elementwise(a, dst, Eltwise.BIAS, tensor=bias))
        return dst

    def add(self, name: str, a: Value, b: Value) -> Value:
        """Sum a + b."""
        dst = self._value(name, a.width)
        self.graph.nodes.append(Elementwise(a, dst, Eltwise.ADD, b))
        return dst

    def multiply(self, name: str, a: Value, b: Value) -> Value:
        """Product a * b."""
        dst = self._value(name, a.width)
        self.graph.nodes.append(Elementwise(a, dst, Eltwise.MUL, b))
        return dst

    def activate(self, name: str, a: Value, activation: Activation) -> Value:
        """Activation of a."""
        dst = self._value(name, a.width)
        self.graph.nodes.append(Elementwise(a, dst, Eltwise.ACT, activation=activation))
        return dst

    def rope_table(self, frequencies: Vector, scale: float) -> Value:
        """Table of cos and sin for the rows' positions."""
        dst = self._value("rope", 2 * len(frequencies.values))
        self.graph.nodes.append(RopeTable(dst, frequencies, scale))
        return dst

    def rope(self, x: Value, table: Value, heads: int, head_dim: int, style: RopeStyle = RopeStyle.HALVES) -> Value:
        """The heads of x rotated by the table."""
        dst = self._value(f"{x.name}.rope", x.width)
        self.graph.nodes.append(Rope(x, table, dst, heads, head_dim, table.width, style))
        return dst

    def attention(self, name: str, q: Value, k: Value, v: Value, spec: StateSpec, heads: int, scale: float) -> Value:
        """Keys and values into a new layer's cache, then causal attention over it."""
        state = len(self.graph.states)
        self.graph.states.append(spec)
        self.graph.nodes.append(KvStore(k, v, state))
        dst = self._value(name, q.width)
        self.graph.nodes.append(Attention(q, dst, state, heads, scale))
        return dst

    def gather(self, src: Value) -> Value:
        """The rows whose logits are wanted; everything built afterwards runs on these alone."""
        self._domain = Domain.LOGIT_ROWS
        dst = self._value("last", src.width)
        self.graph.nodes.append(Gather(src, dst))
        return dst
