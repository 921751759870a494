# SPDX-License-Identifier: Apache-2.0
"""Records of ops: every op of host/ops is read as it was written, and what this program does not know is refused."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from construct import Struct

from host.compiler.compile import Options, compile_model
from host.errors import DeviceFailure, SourceError
from host.ir.op import Op
from host.ops import OPS, OpId, decode_op
from host.schema.fields import kinds
from host.schema.image import OP_BYTES, Domain, OpHead
from tests.support.family_rows import rows, tiny_model
from tests.support.images import ImageEditor
from tests.support.native import Native
from tests.support.tiny import tiny_image

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
    given += ["cap", "pool"]
    assert [OPS[id_].name for id_ in range(1, 1 + len(given))] == given


@pytest.mark.parametrize(("op", "name"), [(op, name) for op in OPS.values() for name in op.node.ranges])
def test_a_number_has_one_range_on_host_and_device(op: Op, name: str, native: Native, tmp_path: Path) -> None:
    path = tmp_path / "image.hsp"
    for family in ("llama", *rows()):
        tiny_image(path, tiny_model(family), Options(context=40, max_rows=4))
        if op.id in ImageEditor(path.read_bytes()).op_ids():
            break
    low, high = (np.float32(end) for end in op.node.ranges[name])

    def load(value: np.float32) -> None:
        fields: dict[str, Any] = {name: float(value)}
        native.load(ImageEditor(path.read_bytes()).op(OpId(op.id), **fields).sealed())

    for good in (low, high):
        load(good)
    for wrong in (np.nextafter(low, np.float32(-np.inf)), np.nextafter(high, np.float32(np.inf)), np.float32(np.nan)):
        with pytest.raises(DeviceFailure):
            load(wrong)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding_multiplier": 1e7}, "Embed has scale"),
        ({"residual_multiplier": 1e-20}, "scale"),
        ({"attention_multiplier": 1e-7}, "Attention has scale"),
        ({"rms_norm_eps": 2}, "Norm has eps"),
    ],
)
def test_what_no_firmware_takes_is_not_packed(changes: dict[str, float], words: str) -> None:
    source = tiny_model("granite")
    source.config = {**source.config, **changes}
    with pytest.raises(SourceError, match=words):
        compile_model(source, Options(context=40))
