# SPDX-License-Identifier: Apache-2.0
"""Passes over the graph, each for itself: it may be left out, and the program still runs and means the same.

Structural passes leave every logit's bits as they are; `fold_norms` changes the order of two multiplications and stays
within 1e-5. The order in ``PASSES`` is the order in which they run. A pass leaves behind what it made superfluous;
`dce` removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields

import numpy as np

from host.errors import UsageError
from host.ir.graph import (
    Attention,
    Elementwise,
    Embed,
    Graph,
    KvStore,
    Linear,
    Node,
    Norm,
    Quantize,
    Rope,
    Value,
    Vector,
    Weight,
)
from host.schema.image import HART_ROWS, Activation, Eltwise, Format

GATE_ROWS = HART_ROWS // 2
QUANTIZED = (Format.Q8, Format.Q4, Format.Q4M)


def run_passes(graph: Graph, without: Iterable[str] = ()) -> None:
    """All passes but those named in ``without``, and what makes the graph executable. UsageError for unknown names."""
    skipped = set(without)
    unknown = skipped - PASSES.keys()
    if unknown:
        raise UsageError(f"there is no pass {', '.join(sorted(unknown))}; passes are {', '.join(PASSES)}")
    for name, run in PASSES.items():
        if name == "fuse_quantize":
            quantize_inputs(graph)
            if "cse" not in skipped:
                cse(graph)
        if name not in skipped:
            run(graph)


def cse(graph: Graph) -> None:
    """Common subexpressions: nodes that do the same to the same values (RoPE tables, quantized rows) become one."""
    seen: dict[tuple[object, ...], Value] = {}
    swap: dict[int, Value] = {}
    kept: list[Node] = []
    # A rotation overwrites its input, so neither it nor what makes the input may serve two readers.
    overwritten = {id(node.x.root) for node in graph.nodes if isinstance(node, Rope)}
    for node in graph.nodes:
        node.substitute(lambda value: swap.get(id(value), value))
        unique = node.effects or isinstance(node, (Rope, Attention))
        if unique or id(node.outputs()[0]) in overwritten:
            kept.append(node)
            continue
        dst = node.outputs()[0]
        key = _signature(node)
        if key in seen and dst is not graph.logits:
            swap[id(dst)] = seen[key]
            continue
        seen[key] = dst
        kept.append(node)
    for value in {id(v): v for node in kept for v in node.inputs()}.values():
        if value.base is not None:
            value.base = swap.get(id(value.base), value.base)
    graph.nodes = kept


def _signature(node: Node) -> tuple[object, ...]:
    parts: list[object] = [type(node)]
    for item in fields(node):
        value = getattr(node, item.name)
        if item.name in node.writes:
            parts.append((value.width, value.domain, value.format))
        elif isinstance(value, Value):
            parts.append(id(value))
        else:
            parts.append(value.key if isinstance(value, (Weight, Vector)) else value)
    return tuple(parts)


def dce(graph: Graph) -> None:
    """Dead code: nodes whose values nobody reads."""
    while True:
        uses = graph.uses()
        kept = [node for node in graph.nodes if node.effects or any(id(v) in uses for v in node.outputs())]
        if len(kept) == len(graph.nodes):
            return
        graph.nodes = kept


def fold_norms(graph: Graph) -> None:
    """A norm's weight and bias go into the linear nodes that alone read it.

    Only where weights stay f32: there it costs one rounding. Folded weights would be quantized with other scales, and a
    source's stored blocks could not be passed through. A weight that is also the embedding table is left alone.
    """
    tables = {node.table.key for node in graph.nodes if isinstance(node, Embed)}
    for norm in [node for node in graph.nodes if isinstance(node, Norm)]:
        readers = graph.readers(norm.dst)
        linears = [node for node in readers if isinstance(node, Linear)]
        foldable = all(n.format == Format.F32 and not n.gated and n.weight.key not in tables for n in linears)
        views = any(value.base is norm.dst for node in graph.nodes for value in node.inputs())
        if norm.weight is None or norm.segments != 1 or not linears or linears != readers or views or not foldable:
            continue
        if norm.bias is not None and any(n.activation != Activation.NONE or n.residual for n in linears):
            continue
        for linear in linears:
            if norm.bias is not None:
                shift = linear.weight.float32().astype(np.float64) @ norm.bias.values.astype(np.float64)
                old = 0.0 if linear.bias is None else linear.bias.values.astype(np.float64)
                linear.bias = Vector(f"{linear.weight.name}.folded_bias", (shift + old).astype(np.float32))
            linear.weight = linear.weight.scaled(norm.weight.values)
        norm.weight = norm.bias = None


def fuse_bias(graph: Graph) -> None:
    """linear, then bias: one linear with a bias."""

    def fuse(node: Elementwise, linear: Linear) -> bool:
        if node.kind != Eltwise.BIAS or linear.bias or linear.residual or linear.activation != Activation.NONE:
            return False
        linear.bias = node.tensor
        return True

    _absorb(graph, fuse)


def fuse_activation(graph: Graph) -> None:
    """linear, then activation: one linear with an activation."""

    def fuse(node: Elementwise, linear: Linear) -> bool:
        if node.kind != Eltwise.ACT or linear.residual or linear.gated or linear.activation != Activation.NONE:
            return False
        linear.activation = node.activation
        return True

    _absorb(graph, fuse)


def fuse_residual(graph: Graph) -> None:
    """linear, then an addition of another value: one linear with a residual."""

    def fuse(node: Elementwise, linear: Linear) -> bool:
        other = node.b if node.a is linear.dst else node.a
        if node.kind != Eltwise.ADD or linear.residual or other is None or other is linear.dst:
            return False
        linear.residual = other
        return True

    _absorb(graph, fuse)


def _absorb(graph: Graph, fuse: Callable[[Elementwise, Linear], bool]) -> None:
    """Let ``fuse`` take an elementwise node into the linear whose result it alone reads; the linear moves there."""
    uses, makers = graph.uses(), graph.makers()
    replaced: dict[int, Linear] = {}
    gone: set[int] = set()
    for node in graph.nodes:
        if not isinstance(node, Elementwise):
            continue
        for value in (node.b, node.a):
            linear = makers.get(id(value)) if value is not None and value.base is None else None
            if isinstance(linear, Linear) and uses[id(value)] == 1 and fuse(node, linear):
                linear.dst = node.dst
                replaced[id(node)] = linear
                gone.add(id(linear))
                break
    graph.nodes = [replaced.get(id(node), node) for node in graph.nodes if id(node) not in gone]


def fuse_qkv(graph: Graph) -> None:
    """Queries, keys and values of one layer from one matrix; the three are views of its result."""
    makers = graph.makers()
    stores = {node.state: node for node in graph.nodes if isinstance(node, KvStore)}
    for node in [node for node in graph.nodes if isinstance(node, Attention)]:
        store = stores[node.state]
        found = [_projection(makers, value) for value in (node.q, store.k, store.v)]
        linears = [linear for linear in found if linear is not None]
        if len({id(linear) for linear in linears}) == 3 and _same_kind(linears):
            _merge(graph, linears, f"{node.dst.name}.qkv")


def _projection(makers: dict[int, Node], value: Value) -> Linear | None:
    """The linear from which a query, key or value comes, through rotation and bias."""
    node = makers.get(id(value))
    while isinstance(node, Rope) or (isinstance(node, Elementwise) and node.kind == Eltwise.BIAS):
        node = makers.get(id(node.x if isinstance(node, Rope) else node.a))
    return node if isinstance(node, Linear) else None


def _same_kind(linears: list[Linear]) -> bool:
    """Whether they can be rows of one matrix."""
    first = linears[0]
    scales = {None if n.weight.column_scale is None else n.weight.column_scale.tobytes() for n in linears}
    alike = all(n.src is first.src and n.format == first.format for n in linears)
    plain = all(n.activation == Activation.NONE and not n.gated and n.residual is None for n in linears)
    return alike and plain and len(scales) == 1


def _merged_bias(name: str, linears: list[Linear]) -> Vector | None:
    if all(linear.bias is None for linear in linears):
        return None
    parts = [np.zeros(n.weight.rows, np.float32) if n.bias is None else n.bias.values for n in linears]
    return Vector(f"{name}.bias", np.concatenate(parts))


def _merge(graph: Graph, linears: list[Linear], name: str) -> None:
    """One linear in place of the first of ``linears``; their results become views of its result."""
    weight = Weight.concat(f"{name}.weight", [linear.weight for linear in linears])
    dst = Value(name, weight.rows, linears[0].dst.domain)
    bias = _merged_bias(name, linears)
    fused = Linear(linears[0].src, dst, weight, bias, format=linears[0].format)
    col = 0
    for linear in linears:
        linear.dst.base, linear.dst.col = dst, col
        col += linear.dst.width
    where = min(index for index, node in enumerate(graph.nodes) if node in linears)
    graph.nodes[where] = fused
    graph.nodes = [node for node in graph.nodes if node not in linears]


def fuse_gate(graph: Graph) -> None:
    """Activation, then product: one gate."""
    uses, makers = graph.uses(), graph.makers()
    gone: set[int] = set()
    for node in graph.nodes:
        if not isinstance(node, Elementwise) or node.kind != Eltwise.MUL or node.b is None:
            continue
        for act_value, other in ((node.a, node.b), (node.b, node.a)):
            act = makers.get(id(act_value))
            single = uses[id(act_value)] == 1 and act_value is not other
            if isinstance(act, Elementwise) and act.kind == Eltwise.ACT and single:
                node.kind, node.activation = Eltwise.GATE, act.activation
                node.a, node.b = act.a, other
                gone.add(id(act))
                break
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


def fuse_gate_up(graph: Graph) -> None:
    """Two linears and the gate between them: one gated linear, 8 gate rows and 8 up rows in turn.

    Needs the width to be a multiple of 8; others keep the gate as a node of its own.
    """
    uses, makers = graph.uses(), graph.makers()
    gone: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if not isinstance(node, Elementwise) or node.kind != Eltwise.GATE or node.b is None:
            continue
        gate, up = makers.get(id(node.a)), makers.get(id(node.b))
        if not isinstance(gate, Linear) or not isinstance(up, Linear) or gate is up or not _same_kind([gate, up]):
            continue
        n = gate.weight.rows
        if n % GATE_ROWS or n != up.weight.rows or uses[id(node.a)] != 1 or uses[id(node.b)] != 1:
            continue
        blocks = np.arange(n).reshape(-1, GATE_ROWS)
        order = np.concatenate([blocks, blocks + n], axis=1).reshape(-1)
        name = f"{node.dst.name}.gate_up"
        weight = Weight.concat(name, [gate.weight, up.weight]).take(f"{name}.weight", order)
        bias = _merged_bias(name, [gate, up])
        bias = None if bias is None else Vector(bias.name, bias.values[order])
        graph.nodes[index] = Linear(gate.src, node.dst, weight, bias, node.activation, gated=True, format=gate.format)
        gone |= {id(gate), id(up)}
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


def quantize_inputs(graph: Graph) -> None:
    """Linears with quantized weights read int8 rows: a quantize node before each. Not optional, so not a pass."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Linear) and node.format in QUANTIZED and node.src.format == Format.F32:
            dst = Value(f"{node.src.name}.q8", node.src.width, node.src.domain, Format.Q8A)
            nodes.append(Quantize(node.src, dst))
            node.src = dst
        nodes.append(node)
    graph.nodes = nodes


def fuse_quantize(graph: Graph) -> None:
    """A norm whose rows are quantized writes them quantized."""
    makers = graph.makers()
    for index, node in enumerate(graph.nodes):
        norm = makers.get(id(node.src)) if isinstance(node, Quantize) else None
        if isinstance(node, Quantize) and isinstance(norm, Norm) and norm.segments == 1:
            graph.nodes[index] = Norm(norm.src, node.dst, norm.kind, norm.eps, norm.weight, norm.bias)


PASSES: dict[str, Callable[[Graph], None]] = {
    "cse": cse,
    "fuse_bias": fuse_bias,
    "fold_norms": fold_norms,
    "fuse_qkv": fuse_qkv,
    "fuse_gate": fuse_gate,
    "fuse_gate_up": fuse_gate_up,
    "fuse_activation": fuse_activation,
    "fuse_residual": fuse_residual,
    "fuse_quantize": fuse_quantize,
    "dce": dce,
}
"""By name, in the order in which they run."""
