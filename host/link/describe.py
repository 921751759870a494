# SPDX-License-Identifier: Apache-2.0
"""What is on the wire in words, one line an item: for the monitor and for logs."""

from __future__ import annotations

from typing import Any

from construct import ConstructError

from host.errors import BY_NUMBER
from host.link.frames import Damaged, Frame, Text
from host.schema.wire.header import Type
from host.schema.wire.messages import MESSAGES


def describe(item: Frame | Text | Damaged) -> str:
    """``TYPE epoch.seq ack fields`` for a frame, the line itself for text, hexadecimal for what was damaged."""
    if isinstance(item, Text):
        return item.line
    if isinstance(item, Damaged):
        return f"<damaged, {len(item.data)} bytes: {item.data[:32].hex(' ')}>"
    name = Type(item.type).name if item.type in set(Type) else f"type {item.type:#x}"
    return f"<{name} {item.epoch:04x}.{item.seq} ack {item.ack}{_payload(item)}>"


def _payload(frame: Frame) -> str:
    message = MESSAGES[Type(frame.type)] if frame.type in set(Type) else None
    if message is None:
        return f" {frame.payload[:32].hex(' ')}"
    try:
        head = message.head.parse(frame.payload)
    except ConstructError:
        return f" too short: {frame.payload.hex(' ')}"
    words = "".join(f" {name}={_value(value)}" for name, value in head.items() if not name.startswith("_"))
    if frame.type == Type.ERROR and head.code in BY_NUMBER:
        words += f" ({BY_NUMBER[head.code].what})"
    return words


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        text = value.rstrip(b"\0")
        return text.decode() if text.isascii() and text.decode().isprintable() else value.hex()
    return f"{value:g}" if isinstance(value, float) else str(list(value) if isinstance(value, list) else value)
