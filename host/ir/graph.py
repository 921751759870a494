# SPDX-License-Identifier: Apache-2.0
"""The compiler's graph: a model as a list of nodes in order of execution over values that are written once.

Families build unfused graphs that read like the paper (host/families) of the ops in host/ops. Passes rewrite them
(host/compiler/passes). Lowering turns every node into one op record (host/compiler/lower.py). Nothing here knows an op.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from host.errors import SourceError
from host.ir.lowering import Fields, KvSpec, Lowering
from host.ir.value import Value
from host.schema.image import OutputKind
from host.schema.weights import WeightFormat


@dataclass(eq=False)
class Node(ABC):
    """One operation; host/ops/<op>.py has its class. The class variables are names of its fields."""

    reads: ClassVar[tuple[str, ...]] = ()
    """Values it reads; None where an optional one is absent."""
    writes: ClassVar[tuple[str, ...]] = ("dst",)
    """Values it writes."""
    in_place: ClassVar[str | None] = None
    """The value that its result takes the place of, always: nobody else may read that value, nor what it is made of."""
    overwrites: ClassVar[tuple[str, ...]] = ()
    """Values whose memory the result may take where they end here, the best first."""
    effects: ClassVar[bool] = False
    """Whether it matters even when nobody reads what it writes."""
    remembers: ClassVar[bool] = False
    """Whether its result depends on what sessions keep: two of them are never the same."""
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """The lowest and the highest that the firmware takes of its numbers, by field."""

    @abstractmethod
    def lower(self, at: Lowering) -> Fields:
        """The fields of the op's record, by name."""

    def scratch(self, at: Lowering) -> dict[str, int]:  # noqa: ARG002
        """Memory it needs while it runs, in bytes by name. Places are not known yet."""
        return {}

    def choose_formats(self, weights: WeightFormat, output: WeightFormat) -> None:  # noqa: B027
        """Take the format of its weights: ``output`` for the embedding and what makes the logits, else ``weights``."""

    def int8_inputs(self) -> tuple[str, ...]:
        """Values that must be rows of Q8A for the formats of its weights."""
        return ()

    def check_limits(self, states: Sequence[KvSpec]) -> None:  # noqa: B027
        """Raise SourceError for what the firmware as shipped cannot hold."""

    def check_numbers(self) -> None:
        """Raise SourceError for a number outside its range: an image with it would be packed, and then refused."""
        for name, (low, high) in self.ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SourceError(
                    f"the model's {type(self).__name__} has {name} {value:g}; the firmware takes {low:g} to {high:g}"
                )

    def inputs(self) -> list[Value]:
        """Values read, absent optional ones left out."""
        return [value for name in self.reads if (value := getattr(self, name)) is not None]

    def outputs(self) -> list[Value]:
        """Values written."""
        return [getattr(self, name) for name in self.writes]

    def substitute(self, swap: Callable[[Value], Value]) -> None:
        """Replace every value read by ``swap`` of it."""
        for name in self.reads:
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, swap(value))


@dataclass
class Graph:
    """A whole model. ``max_context`` is the model's own; ``learned_positions`` forbids going beyond it.

    ``usual_context`` is taken where nobody asks for another one; 0 stands for ``max_context``.
    """

    vocab: int
    dim: int
    layers: int
    max_context: int
    learned_positions: bool
    usual_context: int = 0
    output: OutputKind = OutputKind.LOGITS
    whole: bool = False
    """Whether a step is one whole sequence, each of whose rows sees all others: an encoder's."""
    one_result: bool = False
    """Whether a sequence has one result: one row is wanted."""
    nodes: list[Node] = field(default_factory=list)
    states: list[KvSpec] = field(default_factory=list)
    logits: Value | None = None

    def readers(self, value: Value) -> list[Node]:
        """Nodes that read ``value`` itself (not a view of it)."""
        return [node for node in self.nodes if any(read is value for read in node.inputs())]

    def uses(self) -> dict[int, int]:
        """How often each value is read, directly or through a view, by ``id``; the logits count as read once."""
        count: dict[int, int] = {}
        values = [value for node in self.nodes for value in node.inputs()]
        for value in [*values, *([self.logits] if self.logits else [])]:
            at: Value | None = value
            while at is not None:
                count[id(at)] = count.get(id(at), 0) + 1
                at = at.base
        return count

    def makers(self) -> dict[int, Node]:
        """The node that writes each value, by the value's ``id``."""
        return {id(value): node for node in self.nodes for value in node.outputs()}
