# SPDX-License-Identifier: Apache-2.0
"""Whether a payload is as its message is declared; firmware/link/validate.c is the same for requests."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Struct

from host.schema.wire import MESSAGES, Message, Reason, Type


@dataclass(frozen=True)
class Shape:
    """Bytes of the fixed part, bytes of a record (0: none) and the offset of the u32 that counts them."""

    size: int
    record: int
    count: int


def shape_of(message: Message) -> Shape:
    """The shape of a declared message."""
    record = message.record.sizeof() if isinstance(message.record, Struct) else 0
    if isinstance(message.record, str):
        record = int(message.record[1:].split()[0]) // 8
    offset = 0
    for field in message.head.subcons:
        if record and field.name == "count":
            return Shape(message.head.sizeof(), record, offset)
        offset += field.sizeof()
    return Shape(message.head.sizeof(), 0, 0)


SHAPES = {int(kind): shape_of(message) for kind, message in MESSAGES.items()}
REASON_OFFSET = 4
REASONS = frozenset(int(reason) for reason in Reason)


def is_well_formed(kind: int, payload: bytes) -> bool:
    """Whether the fixed part is whole, exactly as many records follow as it counts, and a DONE has a known reason."""
    shape = SHAPES.get(kind)
    if shape is None or len(payload) < shape.size:
        return False
    count = int.from_bytes(payload[shape.count : shape.count + 4], "little") if shape.record else 0
    if len(payload) - shape.size != count * shape.record:
        return False
    return kind != Type.DONE or int.from_bytes(payload[REASON_OFFSET : REASON_OFFSET + 4], "little") in REASONS
