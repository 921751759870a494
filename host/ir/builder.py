# SPDX-License-Identifier: Apache-2.0
"""Appends nodes to a graph and names their values. The verbs are the ops' own: host/ops/<op>.py."""

from __future__ import annotations

from host.ir.graph import Graph, Node
from host.ir.value import Value
from host.schema.image import Domain


class Builder:
    """A graph while it is built: what every verb takes first."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.domain = Domain.ROWS
        """Which rows what is built from now on runs on."""

    def value(self, name: str, width: int) -> Value:
        """A new value of the rows at hand, [rows][width]."""
        return Value(name, width, self.domain)

    def append(self, node: Node) -> None:
        """The next node."""
        self.graph.nodes.append(node)
