# SPDX-License-Identifier: Apache-2.0
"""Payloads held against their declarations; firmware/link/validate.c does the same for requests."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from construct import Renamed, Struct

from host.schema.wire.answers import Reason
from host.schema.wire.header import Type
from host.schema.wire.messages import MESSAGES, Message


@dataclass(frozen=True)
class PayloadSizes:
    """Bytes of the fixed part, bytes of a record (0: none) and the offset of the u32 that counts them."""

    fixed: int
    record: int
    count: int


def payload_sizes(message: Message) -> PayloadSizes:
    """The sizes of a declared message."""
    record = message.record.sizeof() if isinstance(message.record, Struct) else 0
    if isinstance(message.record, str):
        record = int(message.record[1:].split()[0]) // 8
    offset = 0
    for field in message.head.subcons:
        if record and field.name == "count":
            return PayloadSizes(message.head.sizeof(), record, offset)
        offset += field.sizeof()
    return PayloadSizes(message.head.sizeof(), 0, 0)


SIZES = {int(kind): payload_sizes(message) for kind, message in MESSAGES.items()}
REASON_OFFSET = 4
REASONS = frozenset(int(reason) for reason in Reason)


def is_well_formed(kind: int, payload: bytes) -> bool:
    """Whether the fixed part is whole, exactly as many records follow as it counts, and a DONE has a known reason."""
    sizes = SIZES.get(kind)
    if sizes is None or len(payload) < sizes.fixed:
        return False
    count = int.from_bytes(payload[sizes.count : sizes.count + 4], "little") if sizes.record else 0
    if len(payload) - sizes.fixed != count * sizes.record:
        return False
    return kind != Type.DONE or int.from_bytes(payload[REASON_OFFSET : REASON_OFFSET + 4], "little") in REASONS


def flat(declared: Struct) -> struct.Struct:
    """Return the same layout as the standard library reads and writes it, for what is parsed thousands of times.

    Only for structures of plain numbers.
    """
    formats = []
    for field in declared.subcons:
        inner = field
        while isinstance(inner, Renamed):
            inner = inner.subcon
        formats.append(inner.fmtstr[1:])
    return struct.Struct("<" + "".join(formats))
