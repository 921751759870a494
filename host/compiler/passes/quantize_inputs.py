# SPDX-License-Identifier: Apache-2.0
"""Rows are quantized for what multiplies them with quantized weights. Not optional."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass
from host.ir.graph import Graph, Node
from host.ir.value import Value
from host.ops.quantize import Quantize
from host.schema.image import Format


def run(graph: Graph) -> None:
    """What has quantized weights reads int8 rows: a quantize node before each."""
    nodes: list[Node] = []
    for node in graph.nodes:
        for name in node.int8_inputs():
            src: Value = getattr(node, name)
            if src.format == Format.F32:
                dst = Value(f"{src.name}.q8", src.width, src.domain, Format.Q8A)
                nodes.append(Quantize(src, dst))
                setattr(node, name, dst)
        nodes.append(node)
    graph.nodes = nodes


PASS = Pass(run, at=(90,), optional=False)
