# SPDX-License-Identifier: Apache-2.0
"""Common subexpressions: what is computed twice from the same values is computed once."""

from __future__ import annotations

from dataclasses import fields

from host.compiler.passes.parts.rewrite import Pass
from host.ir.graph import Graph, Node
from host.ir.value import Value, Vector, Weight


def run(graph: Graph) -> None:
    """Common subexpressions: nodes that do the same to the same values (RoPE tables, quantized rows) become one."""
    seen: dict[tuple[object, ...], Value] = {}
    swap: dict[int, Value] = {}
    kept: list[Node] = []
    # What works in place overwrites its input, so neither it nor what makes the input may serve two readers.
    overwritten = {id(getattr(node, node.in_place).root) for node in graph.nodes if node.in_place is not None}
    for node in graph.nodes:
        node.substitute(lambda value: swap.get(id(value), value))
        unique = node.effects or node.remembers or node.in_place is not None
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


PASS = Pass(run, at=(10, 100))
