# SPDX-License-Identifier: Apache-2.0
"""Dead code: what other passes left behind, and nobody reads."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass
from host.ir.graph import Graph


def run(graph: Graph) -> None:
    """Dead code: nodes whose values nobody reads."""
    while True:
        uses = graph.uses()
        kept = [node for node in graph.nodes if node.effects or any(id(v) in uses for v in node.outputs())]
        if len(kept) == len(graph.nodes):
            return
        graph.nodes = kept


PASS = Pass(run, at=(120,))
