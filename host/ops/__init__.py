# SPDX-License-Identifier: Apache-2.0
"""Ops, one file each: its record, its node, the verb that builds it, its lowering and what it costs.

A file of this folder is an op; its name is the op's, and ``OP`` in it says the rest. What a file holds: FIELDS, the
record behind the head, from which the firmware's header is made, too; the enums that only it has; the node's class,
with what it reads, what it may overwrite and how it becomes a record; the verb, a function of a Builder; ``OP``. The
firmware's twin is firmware/ops/<op>.c. docs/adding-an-op.md shows the way.
"""

from __future__ import annotations

import importlib
import pkgutil
from enum import IntEnum

from construct import ConstructError

from host.ir.graph import Node
from host.ir.op import Op
from host.ir.program import OpEntry
from host.schema.image import OP_BYTES, Domain, OpHead


def _read() -> dict[int, Op]:
    """The ops of this folder by id, ascending. AssertionError where two have one id, or a record is too large."""
    found: dict[int, Op] = {}
    for module in pkgutil.iter_modules(__path__):
        op: Op = importlib.import_module(f"{__name__}.{module.name}").OP
        if op.id in found:
            raise AssertionError(f"ops {found[op.id].name} and {op.name} have the same id {op.id}")
        if op.name != module.name:
            raise AssertionError(f"host/ops/{module.name}.py declares the node of {op.name}")
        if OpHead.sizeof() + op.fields.sizeof() > OP_BYTES:
            raise AssertionError(f"the fields of op {op.name} take {op.fields.sizeof()} bytes, too many for a record")
        found[op.id] = op
    return dict(sorted(found.items()))


OPS: dict[int, Op] = _read()
"""By id."""
OP_OF: dict[type[Node], Op] = {op.node: op for op in OPS.values()}
"""By the class of the node."""
OpId = IntEnum("OpId", {op.name.upper(): op.id for op in OPS.values()})  # type: ignore[misc]
"""The ids by name, as the firmware's header has them."""


def decode_op(index: int, data: bytes) -> OpEntry:
    """An op of a program from its record. ValueError for an unknown op, version, domain or enum, and later fields."""
    try:
        head = OpHead.parse(data)
    except ConstructError:
        raise ValueError("its head has fields that are not known here") from None
    op = OPS.get(head.id)
    if op is None:
        raise ValueError(f"{head.id} is no known op")
    if head.version != op.version:
        raise ValueError(f"{op.name} is known as version {op.version}, not {head.version}")
    return OpEntry(index, op.id, op.name, Domain(head.domain), op.decode(data))
