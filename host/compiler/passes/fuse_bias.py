# SPDX-License-Identifier: Apache-2.0
"""A bias goes into the linear before it."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass, absorb
from host.ir.graph import Graph
from host.ops.eltwise import Elementwise, Eltwise
from host.ops.linear import Linear
from host.schema.image import Activation


def run(graph: Graph) -> None:
    """linear, then bias: one linear with a bias."""

    def fuse(node: Elementwise, linear: Linear) -> bool:
        if node.kind != Eltwise.BIAS or linear.bias or linear.residual or linear.activation != Activation.NONE:
            return False
        linear.bias = node.tensor
        return True

    absorb(graph, fuse)


PASS = Pass(run, at=(20,))
