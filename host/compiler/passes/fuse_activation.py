# SPDX-License-Identifier: Apache-2.0
"""An activation goes into the linear before it."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass, absorb
from host.ir.graph import Graph
from host.ops.eltwise import Elementwise, Eltwise
from host.ops.linear import Linear
from host.schema.image import Activation


def run(graph: Graph) -> None:
    """linear, then activation: one linear with an activation."""

    def fuse(node: Elementwise, linear: Linear) -> bool:
        if node.kind != Eltwise.ACT or linear.residual or linear.gated or linear.activation != Activation.NONE:
            return False
        linear.activation = node.activation
        return True

    absorb(graph, fuse)


PASS = Pass(run, at=(70,))
