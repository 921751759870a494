# SPDX-License-Identifier: Apache-2.0
"""A norm's weight goes into the weights that read it: the one pass that changes bits, within 1e-5."""

from __future__ import annotations

import numpy as np

from host.compiler.passes.parts.rewrite import Pass
from host.ir.graph import Graph
from host.ir.value import Vector
from host.ops.embed import Embed
from host.ops.linear import Linear
from host.ops.norm import Norm
from host.schema.formats.f32 import F32
from host.schema.image import Activation


def run(graph: Graph) -> None:
    """A norm's weight and bias go into the linear nodes that alone read it.

    Only where weights stay f32: there it costs one rounding. Folded weights would be quantized with other scales, and a
    source's stored blocks could not be passed through. A weight that is also the embedding table is left alone.
    """
    tables = {node.table.key for node in graph.nodes if isinstance(node, Embed)}
    for norm in [node for node in graph.nodes if isinstance(node, Norm)]:
        readers = graph.readers(norm.dst)
        linears = [node for node in readers if isinstance(node, Linear)]
        foldable = all(n.format is F32 and not n.gated and n.weight.key not in tables for n in linears)
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


PASS = Pass(run, at=(30,))
