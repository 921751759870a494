# SPDX-License-Identifier: Apache-2.0
"""A device in this process, on a line whose clock is its own: honest, but for what a test has it say instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import google_crc32c
import numpy as np

from host.link.client import Client
from host.link.frames import Decoder, Frame, encode
from host.schema.wire import answers
from host.schema.wire.header import FrameFlag, Type
from host.schema.wire.messages import MESSAGES
from tests.support.link import MODEL, hello_payload

Said = list[tuple[Type, bytes]]
"""Types and payloads."""
READ_SECONDS = 0.02
"""Seconds of the line's clock that each look takes."""


def message(kind: Type, records: bytes = b"", **values: Any) -> bytes:
    """A payload whose fields are 0 but for ``values``."""
    head = MESSAGES[kind].head
    blank = {name: value for name, value in head.parse(bytes(head.sizeof())).items() if not name.startswith("_")}
    return bytes(head.build(blank | values)) + records


def tokens(request: int, index: int, ids: list[int]) -> tuple[Type, bytes]:
    """A TOKENS of these ids."""
    records = b"".join(answers.TokenRecord.build({"token": one, "time_us": 1, "digest": 0}) for one in ids)
    return Type.TOKENS, message(Type.TOKENS, records, request=request, index=index, count=len(ids))


def done(request: int, ids: list[int], length: int, **values: Any) -> tuple[Type, bytes]:
    """The DONE of a GENERATE that gave these ids."""
    crc = google_crc32c.value(np.asarray(ids, dtype="<u4").tobytes())
    fields = {"reason": 1, "generated": len(ids), "length": length, "tokens_crc": crc, "first_us": 1, "total_us": 2}
    return Type.DONE, message(Type.DONE, request=request, **(fields | values))


class Liar:
    """A ByteStream. ``lies``: what is said to a request instead; ``idle``: what is said at each look besides.

    hello: values of HELLO_REPLY. noise: bytes at each look. ``sent`` counts messages; a host that has not given up
    after ``most`` of them never will.
    """

    description = "the device that lies"

    def __init__(
        self,
        lies: dict[Type, Callable[[Any], Said]] | None = None,
        idle: Callable[[], Said] = list,
        noise: bytes = b"",
        most: int = 30_000,
        **hello: Any,
    ) -> None:
        self.lies = lies or {}
        self.idle = idle
        self.noise = noise
        self.hello: dict[str, Any] = hello
        self.most = most
        self.now = 0.0
        self.sent = self.seq = self.ack = self.epoch = 0
        self.lengths: dict[int, int] = {}
        self.waiting = b""
        self._decoder = Decoder()

    def client(self, patience: float = 2.0) -> Client:
        """A host whose clock is the line's, connected."""
        client = Client(self, patience=patience, clock=lambda: self.now)
        client.connect()
        return client

    def read(self, timeout: float) -> bytes:
        self.now += READ_SECONDS
        if self.epoch:
            self.say(self.idle())
        data, self.waiting = self.waiting + self.noise, b""
        if not data:
            self.now += timeout
        return data

    def close(self) -> None:
        pass

    def say(self, said: Said) -> None:
        """Say these messages, each with a sequence number unless its type has none."""
        for kind, payload in said:
            self.sent += 1
            assert self.sent < self.most, "the host believes it for ever"
            flags = FrameFlag.UNNUMBERED if kind in (Type.HELLO_REPLY, Type.PROGRESS) else 0
            head = {"epoch": self.epoch, "seq": self.seq, "ack": self.ack, "flags": int(flags)}
            self.waiting += encode(Frame(kind, payload, **head))
            self.seq = (self.seq + (not flags)) & 0xFFFF

    def restart(self) -> Said:
        """What the device says when it has restarted: an announcement to nobody."""
        self.epoch = 0
        self.lengths.clear()
        return [(Type.HELLO_REPLY, message(Type.HELLO_REPLY))] * 2

    def write(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            if isinstance(frame, Frame) and frame.type != Type.ACK:
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        asked = MESSAGES[Type(frame.type)].head.parse(frame.payload)
        if frame.type == Type.HELLO:
            self.epoch, self.seq, self.ack = frame.epoch, 0, 0
            self.say([(Type.HELLO_REPLY, hello_payload(asked, **self.hello))])
            return
        if not frame.flags & FrameFlag.UNNUMBERED:
            if frame.seq != self.ack:
                return
            self.ack = (self.ack + 1) & 0xFFFF
        elif frame.type == Type.PING and Type.PING not in self.lies:
            payload = message(Type.OK, request=asked.request, value=asked.value)
            self.waiting += encode(Frame(Type.OK, payload, epoch=self.epoch, ack=self.ack, flags=1))
            return
        self.say(self.lies.get(Type(frame.type), self._honest(Type(frame.type)))(asked))

    def _honest(self, kind: Type) -> Callable[[Any], Said]:
        def answer(asked: Any) -> Said:
            session = getattr(asked, "session", 0)
            if kind == Type.PROMPT:
                self.lengths[session] = asked.position + asked.count
            elif kind == Type.TRUNCATE:
                self.lengths[session] = asked.length
            elif kind == Type.GENERATE:
                ids = list(range(1, 1 + asked.max_tokens))
                self.lengths[session] = self.lengths.get(session, 0) + len(ids)
                return [tokens(asked.request, 0, ids), done(asked.request, ids, self.lengths[session])]
            elif kind == Type.STATS:
                return [(Type.STATS_REPLY, message(Type.STATS_REPLY, request=asked.request))]
            elif kind == Type.STATE:
                length = self.lengths.get(session, 0)
                fields = {"request": asked.request, "length": length, "high": length, "bytes": 4 * length}
                return [(Type.STATE_REPLY, message(Type.STATE_REPLY, **fields))]
            elif kind == Type.READ:
                data = bytes(asked.size)
                fields = {"request": asked.request, "count": asked.size, "offset": asked.offset}
                return [(Type.DATA, message(Type.DATA, data, **fields))]
            value = {Type.PROMPT: self.lengths.get(session, 0), Type.TRUNCATE: self.lengths.get(session, 0)}
            return [(Type.OK, message(Type.OK, request=asked.request, value=value.get(kind, 0)))]

        return answer


VOCABULARY = MODEL["vocab"]
