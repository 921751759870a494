# SPDX-License-Identifier: Apache-2.0
"""What passes over the graph are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from host.ir.graph import Graph
from host.ir.value import Vector
from host.ops.eltwise import Elementwise
from host.ops.linear import Linear
from host.schema.image import Activation


@dataclass(frozen=True)
class Pass:
    """One pass. ``at``: where it runs, lowest first; once for each number."""

    run: Callable[[Graph], None]
    at: tuple[int, ...]
    optional: bool = True
    """Whether a program without it can be run."""


def absorb(graph: Graph, fuse: Callable[[Elementwise, Linear], bool]) -> None:
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


def same_kind(linears: list[Linear]) -> bool:
    """Whether they can be rows of one matrix."""
    first = linears[0]
    scales = {None if n.weight.column_scale is None else n.weight.column_scale.tobytes() for n in linears}
    alike = all(n.src is first.src and n.format == first.format for n in linears)
    plain = all(n.activation == Activation.NONE and not n.gated and n.residual is None for n in linears)
    return alike and plain and len(scales) == 1


def merged_bias(name: str, linears: list[Linear]) -> Vector | None:
    """The biases one after the other, zeros where a linear has none; None where none has."""
    if all(linear.bias is None for linear in linears):
        return None
    parts = [np.zeros(n.weight.rows, np.float32) if n.bias is None else n.bias.values for n in linears]
    return Vector(f"{name}.bias", np.concatenate(parts))
