# SPDX-License-Identifier: Apache-2.0
"""What one file of host/ops declares: an op's record, its node and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from construct import Container, ListContainer, Struct

from host.ir.graph import Node
from host.ir.lowering import Fields
from host.ir.program import OpEntry, Program, Traffic
from host.schema.fields import TENSOR, kinds
from host.schema.image import NO_TENSOR, OP_BYTES, Domain, OpHead, Space

Cost = Callable[[Program, OpEntry, int, int], Traffic]
"""What an op reads and multiplies in a step of so many rows (of its domain, at least one) from a position on."""


@dataclass(frozen=True, eq=False)
class Op:
    """One op. ``version`` rises when the meaning of its fields changes."""

    id: int
    version: int
    fields: Struct
    node: type[Node]
    cost: Cost | None = None
    """None: the tensors that it names, each read whole."""
    told_apart_by: str | None = None
    """The field with the tensor by whose name its costs are added up; None: all of them together."""

    @property
    def name(self) -> str:
        """That of its file, e.g. ``rope_table``."""
        return self.node.__module__.rpartition(".")[2]

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """The fields that name a tensor."""
        return tuple(name for name, kind in kinds(self.fields).items() if kind is TENSOR)

    @cached_property
    def enums(self) -> dict[str, type[IntEnum]]:
        """The fields that are one of an enum."""
        return {name: kind.kind for name, kind in kinds(self.fields).items() if "kind" in vars(kind)}

    def record(self, domain: Domain, fields: Fields) -> bytes:
        """OP_BYTES of the program."""
        head: bytes = OpHead.build({"id": self.id, "version": self.version, "domain": domain})
        body: bytes = self.fields.build(fields)
        return (head + body).ljust(OP_BYTES, b"\0")

    def decode(self, data: bytes) -> dict[str, Any]:
        """The fields of a record that is this op's.

        ValueError names the enum that has no such value, or says that there are fields of a later version.
        """
        fields: dict[str, Any] = plain(self.fields.parse(data[OpHead.sizeof() :]))
        if any(data[OpHead.sizeof() + self.fields.sizeof() :]):
            raise ValueError(f"{self.name} has fields that are not known here")
        for name, field in fields.items():
            if isinstance(field, dict) and field["space"] == Space.NONE and any(field.values()):
                raise ValueError(f"operand {name} of {self.name} is nowhere, and has a place")
        return fields | {name: kind(fields[name]) for name, kind in self.enums.items()}

    def traffic(self, program: Program, entry: OpEntry, rows: int, start: int) -> Traffic:
        """What it reads and multiplies in a step of ``rows`` rows from position ``start`` on."""
        if self.cost is not None:
            return self.cost(program, entry, rows, start)
        return Traffic(weight_bytes=whole(program, [entry.fields[name] for name in self.tensors]))


def whole(program: Program, tensors: list[int]) -> float:
    """Bytes of tensors that are read whole; NO_TENSOR takes none."""
    return float(sum(program.tensors[t].size for t in tensors if t != NO_TENSOR))


def plain(value: Any) -> Any:
    """Construct's containers as dicts and lists, without its private entries."""
    if isinstance(value, Container):
        return {key: plain(item) for key, item in value.items() if not str(key).startswith("_")}
    return [plain(item) for item in value] if isinstance(value, ListContainer) else value
