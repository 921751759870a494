# SPDX-License-Identifier: Apache-2.0
"""A host that sends any message in any state, and every message that a host can send."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from construct import Renamed, Struct

from host.link.frames import Decoder, Frame, encode
from host.schema.wire import answers
from host.schema.wire.header import FrameFlag, Type
from host.schema.wire.hello import Hello
from host.schema.wire.messages import MESSAGES
from host.schema.wire.requests import Space
from tests.support.link import NUMBERS
from tests.support.lockstep import LockstepLine

REQUESTS = [kind for kind in MESSAGES if kind < 0x40]
UNNUMBERED = {Type.HELLO, Type.PING}
UNKNOWN = [0x00, max(REQUESTS) + 1, 0x3F, 0x7F, 0xFF]
SENSIBLE = {"top_p": 1.0, "repeat_penalty": 1.0, "max_tokens": 2, "size": 16, "length": 1, "high": 1, "baud": 9600}
"""Fields that a host with good intentions would not leave 0."""


@dataclass
class Sent:
    """One message as it goes out, less its request id."""

    kind: int
    payload: bytes
    words: str

    def __str__(self) -> str:
        return f"{Type(self.kind).name if self.kind in Type else hex(self.kind)} of {self.words}"


@dataclass
class RawHost:
    """A host that sends whatever it is told and looks for the answer by its id."""

    line: LockstepLine
    epoch: int = 0
    seq: int = 0
    awaited: int = 0
    frames: list[Frame] = field(default_factory=list)
    text: bytes = b""
    decoder: Decoder = field(default_factory=Decoder)
    requests: Iterator[int] = field(default_factory=lambda: count(1))

    def packed(self, kind: int, payload: bytes = b"") -> tuple[int, bytes]:
        """A request id, and the frame that has it."""
        request = next(self.requests)
        body = struct.pack("<I", request) + payload[4:]
        free = FrameFlag.UNNUMBERED if kind in UNNUMBERED else FrameFlag(0)
        frame = Frame(kind, body, epoch=self.epoch, seq=self.seq, ack=self.awaited, credit=60000, flags=free)
        if not free:
            self.seq = (self.seq + 1) & 0xFFFF
        return request, encode(frame)

    def hello(self) -> Frame:
        """Begin an epoch."""
        self.epoch, self.seq, self.awaited = self.epoch + 1, 0, 0
        return self.ask(Type.HELLO, Hello.build(fields(Hello, nonce=1000 + self.epoch)))

    def look(self, seconds: float = 0.02) -> None:
        data = self.line.read(seconds)
        self.text += data
        for item in self.decoder.feed(data):
            if not isinstance(item, Frame):
                continue
            if item.epoch == self.epoch and not item.flags & FrameFlag.UNNUMBERED:
                if item.seq != self.awaited:
                    continue
                self.awaited = (self.awaited + 1) & 0xFFFF
            self.frames.append(item)

    def wait(self, request: int, kinds: set[int] | None = None, seconds: float = 5) -> Frame:
        """The answer to a request."""
        end = self.line.now() + seconds
        while self.line.now() < end:
            for frame in self.frames:
                if frame.payload[:4] == struct.pack("<I", request) and (not kinds or frame.type in kinds):
                    return frame
            self.look()
        raise AssertionError("no answer")

    def ask(self, kind: int, payload: bytes, kinds: set[int] | None = None) -> Frame:
        request, data = self.packed(kind, payload)
        self.line.write(data)
        return self.wait(request, kinds)

    def do(self, kind: Type, record: bytes = b"", **values: object) -> Frame:
        """A request by its fields; its answer is no error."""
        found = self.ask(kind, MESSAGES[kind].head.build(fields(MESSAGES[kind].head, **values)) + record)
        assert found.type != Type.ERROR, error_of(found)
        return found

    def silent(self, seconds: float) -> None:
        """Acknowledge all that has come, then let time pass."""
        ack = Frame(Type.ACK, epoch=self.epoch, ack=self.awaited, credit=60000, flags=FrameFlag.UNNUMBERED)
        self.line.write(encode(ack))
        end = self.line.now() + seconds
        while self.line.now() < end:
            self.look(0.5)


def names(head: Struct) -> dict[str, int]:
    """The fields of a structure, with how many numbers each has."""
    found = {}
    for item in head.subcons:
        inner = item
        while isinstance(inner, Renamed):
            inner = inner.subcon
        if item.name:
            found[item.name] = getattr(inner, "count", 1)
    return found


def fields(head: Struct, **values: object) -> dict[str, object]:
    """All fields of a structure: 0, or as ``values`` say."""
    return {name: values.get(name, 0 if size == 1 else [0] * size) for name, size in names(head).items()}


def variants(kind: Type, image: Path) -> list[Sent]:
    """What a host may send of a type: with good intentions, nothing but 0, nothing but 1 bits, and cut short."""
    message = MESSAGES[kind]
    records = {Type.PROMPT: b"\5\0\0\0", Type.WRITE: image.read_bytes()[:16]}.get(kind, b"")
    amount = len(records) // 4 if kind == Type.PROMPT else len(records)
    values: dict[str, object] = {
        **SENSIBLE,
        "count": amount,
        "version_min": 2,
        "version_max": 2,
        "bytes": image.stat().st_size,
    }
    size = message.head.sizeof()
    session = {"space": Space.SESSION, "count": 0}
    found = [
        Sent(kind, message.head.build(fields(message.head, **values)) + records, "good fields"),
        Sent(kind, bytes(size), "zeros"),
        Sent(kind, b"\xff" * size, "ones"),
        Sent(kind, bytes(4), "its id alone"),
    ]
    if "space" in names(message.head):
        found.append(Sent(kind, message.head.build(fields(message.head, **{**values, **session})), "a session"))
    return found


def all_messages(image: Path) -> list[Sent]:
    found = [sent for kind in REQUESTS for sent in variants(kind, image)]
    foreign = [kind for kind in MESSAGES if kind >= 0x40 and kind != Type.ACK]
    return found + [Sent(kind, bytes(16), "zeros") for kind in [*foreign, *UNKNOWN]]


def error_of(frame: Frame) -> str:
    number = answers.Error.parse(frame.payload).code
    return next(name for name, known in NUMBERS.items() if known == number)
