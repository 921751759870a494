# SPDX-License-Identifier: Apache-2.0
"""Both matrices of a gated feed-forward block and the gate between them become one matrix."""

from __future__ import annotations

import numpy as np

from host.compiler.passes.parts.rewrite import Pass, merged_bias, same_kind
from host.ir.graph import Graph
from host.ir.value import Vector, Weight
from host.ops.eltwise import Elementwise, Eltwise
from host.ops.linear import Linear
from host.schema.image import HART_ROWS

GATE_ROWS = HART_ROWS // 2


def run(graph: Graph) -> None:
    """Two linears and the gate between them: one gated linear, 8 gate rows and 8 up rows in turn.

    Needs the width to be a multiple of 8; others keep the gate as a node of its own.
    """
    uses, makers = graph.uses(), graph.makers()
    gone: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if not isinstance(node, Elementwise) or node.kind != Eltwise.GATE or node.b is None:
            continue
        gate, up = makers.get(id(node.a)), makers.get(id(node.b))
        if not isinstance(gate, Linear) or not isinstance(up, Linear) or gate is up or not same_kind([gate, up]):
            continue
        n = gate.weight.rows
        if n % GATE_ROWS or n != up.weight.rows or uses[id(node.a)] != 1 or uses[id(node.b)] != 1:
            continue
        blocks = np.arange(n).reshape(-1, GATE_ROWS)
        order = np.concatenate([blocks, blocks + n], axis=1).reshape(-1)
        name = f"{node.dst.name}.gate_up"
        weight = Weight.concat(name, [gate.weight, up.weight]).take(f"{name}.weight", order)
        bias = merged_bias(name, [gate, up])
        bias = None if bias is None else Vector(bias.name, bias.values[order])
        graph.nodes[index] = Linear(gate.src, node.dst, weight, bias, node.activation, gated=True, format=gate.format)
        gone |= {id(gate), id(up)}
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


PASS = Pass(run, at=(60,))
