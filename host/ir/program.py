# SPDX-License-Identifier: Apache-2.0
"""A program as an image holds it, decoded: ops, tensors, states and plan; and what running it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from host.schema.image import Domain, Layout
from host.schema.weights import WeightFormat


@dataclass(frozen=True)
class TensorEntry:
    """One row of the tensor table."""

    index: int
    name: str
    format: WeightFormat
    layout: Layout
    rows: int
    cols: int
    offset: int
    size: int


@dataclass(frozen=True)
class OpEntry:
    """One op of the program. ``name``: its file's in host/ops; ``fields`` as declared there, enums as enums."""

    index: int
    id: int
    name: str
    domain: Domain
    fields: dict[str, Any]


class Program(Protocol):
    """What is asked of an image: an Image, or what the compiler has planned."""

    @property
    def ops(self) -> Sequence[OpEntry]:
        """The program."""

    @property
    def tensors(self) -> Sequence[TensorEntry]:
        """The tensor table."""

    @property
    def states(self) -> Sequence[dict[str, Any]]:
        """The state table, by the names of State in host/schema/image.py."""

    @property
    def plan(self) -> dict[str, Any]:
        """By the names of Plan in host/schema/image.py."""


@dataclass(frozen=True)
class Traffic:
    """Bytes of weights and of KV cache read, and multiply-accumulates: of a step, or a token's share of one."""

    weight_bytes: float = 0.0
    kv_bytes: float = 0.0
    macs: float = 0.0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __truediv__(self, by: float) -> Traffic:
        return Traffic(*(getattr(self, f.name) / by for f in fields(self)))

    @property
    def bytes(self) -> float:
        """Weights and KV cache together."""
        return self.weight_bytes + self.kv_bytes
