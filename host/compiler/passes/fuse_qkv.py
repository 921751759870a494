# SPDX-License-Identifier: Apache-2.0
"""Queries, keys and values of one layer from one matrix."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass, merged_bias, same_kind
from host.ir.graph import Graph, Node
from host.ir.value import Value, Weight
from host.ops.attention import Attention
from host.ops.eltwise import Elementwise, Eltwise
from host.ops.kv_store import KvStore
from host.ops.linear import Linear
from host.ops.norm import Norm
from host.ops.rope import Rope


def run(graph: Graph) -> None:
    """Queries, keys and values of one layer from one matrix; the three are views of its result."""
    makers = graph.makers()
    stores: dict[int, KvStore] = {}
    for node in list(graph.nodes):
        if isinstance(node, KvStore):
            stores[node.state] = node  # layers may share a state: an attention reads what was stored last
        if not isinstance(node, Attention):
            continue
        store = stores[node.state]
        found = [_projection(makers, value) for value in (node.q, store.k, store.v)]
        linears = [linear for linear in found if linear is not None]
        if len({id(linear) for linear in linears}) == 3 and same_kind(linears):
            _merge(graph, linears, f"{node.dst.name}.qkv")


def _projection(makers: dict[int, Node], value: Value) -> Linear | None:
    """The linear from which a query, key or value comes, through rotation, norm and bias."""
    node = makers.get(id(value))
    while isinstance(node, (Rope, Norm)) or (isinstance(node, Elementwise) and node.kind == Eltwise.BIAS):
        node = makers.get(id(node.inputs()[0]))
    return node if isinstance(node, Linear) else None


def _merge(graph: Graph, linears: list[Linear], name: str) -> None:
    """One linear in place of the first of ``linears``; their results become views of its result."""
    weight = Weight.concat(f"{name}.weight", [linear.weight for linear in linears])
    dst = Value(name, weight.rows, linears[0].dst.domain)
    bias = merged_bias(name, linears)
    fused = Linear(linears[0].src, dst, weight, bias, format=linears[0].format)
    col = 0
    for linear in linears:
        linear.dst.base, linear.dst.col = dst, col
        col += linear.dst.width
    where = min(index for index, node in enumerate(graph.nodes) if node in linears)
    graph.nodes[where] = fused
    graph.nodes = [node for node in graph.nodes if node not in linears]


PASS = Pass(run, at=(40,))
