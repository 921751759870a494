# SPDX-License-Identifier: Apache-2.0
"""An activation and the product behind it become a gate."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass
from host.ir.graph import Graph
from host.ops.eltwise import Elementwise, Eltwise


def run(graph: Graph) -> None:
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


PASS = Pass(run, at=(50,))
