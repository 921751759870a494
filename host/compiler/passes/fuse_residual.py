# SPDX-License-Identifier: Apache-2.0
"""An addition goes into the linear before it."""

from __future__ import annotations

from host.compiler.passes.parts.rewrite import Pass, absorb
from host.ir.graph import Graph
from host.ops.eltwise import Elementwise, Eltwise
from host.ops.linear import Linear


def run(graph: Graph) -> None:
    """linear, then an addition of another value: one linear with a residual."""

    def fuse(node: Elementwise, linear: Linear) -> bool:
        other = node.b if node.a is linear.dst else node.a
        if node.kind != Eltwise.ADD or linear.residual or other is None or other is linear.dst:
            return False
        linear.residual = other
        return True

    absorb(graph, fuse)


PASS = Pass(run, at=(80,))
