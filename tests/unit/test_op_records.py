# SPDX-License-Identifier: Apache-2.0
"""Records of ops: every op of host/ops is read as it was written, and what this program does not know is refused."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest
from construct import Struct

from host.ir.op import Op
from host.ops import OPS, decode_op
from host.schema.fields import kinds
from host.schema.image import OP_BYTES, Domain, OpHead

EVERY = pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)


def values(struct: Struct) -> dict[str, Any]:
    """A number of its own for each field; an enum's highest."""
    found: dict[str, Any] = {}
    for name, kind in kinds(struct).items():
        if isinstance(kind, Struct):
            found[name] = values(kind)
        else:
            known: type[IntEnum] | None = vars(kind).get("kind")
            found[name] = max(known) if known else len(found) + 1
    return found


def record(op: Op) -> bytearray:
    return bytearray(op.record(Domain.ROWS, values(op.fields)))


@EVERY
def test_an_op_is_read_as_it_was_written(op: Op) -> None:
    data = bytes(record(op))
    assert len(data) == OP_BYTES
    entry = decode_op(3, data)
    assert (entry.index, entry.id, entry.name, entry.domain) == (3, op.id, op.name, Domain.ROWS)
    assert entry.fields == values(op.fields)
    assert {name for name, value in entry.fields.items() if isinstance(value, IntEnum)} == op.enums.keys()


@EVERY
def test_what_is_not_known_is_refused(op: Op) -> None:
    tail = OpHead.sizeof() + op.fields.sizeof()
    for at, value in ((0, 0xFE), (2, op.version + 1), (4, 2), *((at, 1) for at in range(tail, OP_BYTES))):
        changed = record(op)
        changed[at] = value
        with pytest.raises(ValueError):  # noqa: PT011
            decode_op(0, bytes(changed))


@pytest.mark.parametrize(("op", "name"), [(op, name) for op in OPS.values() for name in op.enums])
def test_an_enum_has_no_other_number(op: Op, name: str) -> None:
    data = op.record(Domain.ROWS, values(op.fields) | {name: max(op.enums[name]) + 1})
    with pytest.raises(ValueError, match=op.enums[name].__name__):
        decode_op(0, data)


def test_ids_are_the_images() -> None:
    """An id, once given, stays."""
    given = ["embed", "norm", "quantize", "linear", "rope_table", "rope", "kv_store", "attention", "eltwise", "gather"]
    assert [OPS[id_].name for id_ in range(1, 1 + len(given))] == given
