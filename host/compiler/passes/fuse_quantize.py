# SPDX-License-Identifier: Apache-2.0
"""A norm whose rows are quantized writes them quantized."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass
from host.ir.graph import Graph
from host.ops.norm import Norm
from host.ops.quantize import Quantize


def run(graph: Graph) -> None:
    """A norm whose rows are quantized writes them quantized."""
    makers = graph.makers()
    for index, node in enumerate(graph.nodes):
        norm = makers.get(id(node.src)) if isinstance(node, Quantize) else None
        if isinstance(node, Quantize) and isinstance(norm, Norm) and norm.segments == 1:
            graph.nodes[index] = Norm(norm.src, node.dst, norm.kind, norm.eps, norm.weight, norm.bias)


PASS = Pass(run, at=(110,))
