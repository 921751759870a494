# SPDX-License-Identifier: Apache-2.0
"""What an op sees of the compiler while its record is made: places, tensors, states and what the plan fixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from host.ir.value import Value, Vector, Weight
from host.schema.image import Format, Overflow
from host.schema.weights import WeightFormat

Fields = Mapping[str, Any]
"""What an op's record is built from: numbers by field, an operand as a mapping of its own."""


@dataclass(frozen=True)
class KvSpec:
    """The KV cache of one attention layer. ``window``: positions attended to, 0 for all."""

    kv_heads: int
    head_dim: int
    window: int = 0


@dataclass(frozen=True)
class PlanOptions:
    """What the plan fixes: positions, rows of a step, sessions, cache format and what a full context does."""

    context: int
    sessions: int
    max_rows: int
    max_logit_rows: int
    kv_format: Format
    overflow: Overflow
    sinks: int


@dataclass(frozen=True)
class StateRecord:
    """One entry of the state table, in the image's terms."""

    format: Format
    kv_heads: int
    head_dim: int
    window: int
    sinks: int
    pages: int
    page_bytes: int


class Lowering(Protocol):
    """The compiler, as an op sees it."""

    @property
    def options(self) -> PlanOptions:
        """What the plan fixes."""

    @property
    def states(self) -> Sequence[StateRecord]:
        """The state table."""

    def operand(self, value: Value | None) -> Fields:
        """A value's place in the arena; that of no operand for None."""

    def scratch(self, owner: object, name: str) -> Fields:
        """The place of what a node's ``scratch`` asks for under this name; its stride is its whole size."""

    def matrix(self, weight: Weight, fmt: WeightFormat) -> int:
        """Index of a weight in the kernels' order."""

    def plain(self, weight: Weight, fmt: WeightFormat) -> int:
        """Index of a table row by row."""

    def vector(self, vector: Vector | None, size: int = 0) -> int:
        """Index of a vector, padded with zeros to ``size``; NO_TENSOR for None."""
