# SPDX-License-Identifier: Apache-2.0
"""What tests of the link share: clients of fake devices, requests by hand, lines with words, faults and rates."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from host.errors import DEVICE_ERRORS, DeviceFailure
from host.link.client import Client
from host.link.frames import Decoder, Frame, encode
from host.link.stream import ByteStream
from host.schema.wire.constants import MAX_PAYLOAD, VERSION_MAX
from host.schema.wire.header import FrameFlag, Type
from host.schema.wire.hello import Hello, HelloReply
from host.targets import Target
from tests.support.fake_device import FakeDevice

NUMBERS = {error.name: error.number for error in DEVICE_ERRORS}
NOISE_SECONDS = 0.01
Open = Callable[..., Client]
"""Starts a fake device with these settings; its client says hello unless ``connect`` is false."""


@contextmanager
def fake_clients() -> Iterator[Open]:
    """Clients of devices that end with the block."""
    opened: list[Client] = []

    def start(connect: bool = True, **settings: object) -> Client:
        client = Client(FakeDevice(**settings), patience=20)
        opened.append(client)
        if connect:
            client.connect()
        return client

    try:
        yield start
    finally:
        for client in opened:
            client.stream.close()


def fake_of(client: Client) -> FakeDevice:
    """The device that a client was started with."""
    assert isinstance(client.stream, FakeDevice)
    return client.stream


def refused(name: str) -> pytest.RaisesExc[DeviceFailure]:
    """The block ends in this error of the device."""
    return pytest.raises(DeviceFailure, match=rf"error {NUMBERS[name]} \({name}\)")


def ask(client: Client, payload: bytes, kind: int, **header: int) -> None:
    """A raw request with the next sequence number, as a host that makes mistakes would send it."""
    seq = client.connection.delivery.send_next
    client.connection.delivery.send_next += 1
    client.connection.expect(int.from_bytes(payload[:4], "little"))
    client.stream.write(encode(Frame(kind, payload, epoch=client.connection.delivery.epoch, **{"seq": seq, **header})))


def read_exactly(target: Target, count: int) -> bytes:
    """Bytes of a target; they have a minute or two to come."""
    got, end = b"", time.monotonic() + 120
    while len(got) < count and time.monotonic() < end:
        got += target.read(0.5)
    return got


class Scripted:
    """A stream that answers with given bytes, whatever it is told; time passes where nothing waits to be read.

    noise: what comes beside at each look, without end.
    """

    description = "the scripted line"

    def __init__(self, *answers: Callable[[bytes], bytes], noise: bytes = b"") -> None:
        self.answers = answers
        self.noise = noise
        self.waiting = b""
        self.now = 0.0

    def client(self, patience: float) -> Client:
        """A host whose clock is the stream's."""
        return Client(self, patience=patience, clock=lambda: self.now)

    def read(self, timeout: float) -> bytes:
        if self.noise or not self.waiting:
            self.now += NOISE_SECONDS if self.noise else max(timeout, 1e-3)
        data, self.waiting = self.waiting, b""
        return data + self.noise

    def write(self, data: bytes) -> None:
        self.waiting += b"".join(answer(data) for answer in self.answers)

    def close(self) -> None:
        pass


MODEL = {
    "vocab": 131,
    "context": 256,
    "max_rows": 16,
    "max_logit_rows": 4,
    "sessions": 2,
    "layers": 1,
    "pending_limit": 4096,
    "image_bytes": 1 << 20,
    "weight_bytes": 1 << 19,
    "runtime_bytes": 1 << 16,
}
"""What an honest device says of its model."""


def hello_payload(hello: Any, version: int = VERSION_MAX, **values: Any) -> bytes:
    """What a device with a model answers to a HELLO, with these values."""
    blank = HelloReply.parse(bytes(HelloReply.sizeof()))
    fields = {name: value for name, value in blank.items() if not name.startswith("_")}
    versions = {"version_min": version, "version_max": version}
    heads = {"request": hello.request, "nonce": hello.nonce, "max_payload": MAX_PAYLOAD, "harts": 1}
    return bytes(HelloReply.build(fields | MODEL | versions | heads | values))


def hello_reply(version: int) -> Callable[[bytes], bytes]:
    """The answers of a device that speaks this version."""

    def answer(data: bytes) -> bytes:
        frame = Decoder().feed(data)[0]
        assert isinstance(frame, Frame)
        if frame.type != Type.HELLO:
            return b""
        payload = hello_payload(Hello.parse(frame.payload), version)
        return encode(Frame(Type.HELLO_REPLY, payload, epoch=frame.epoch, version=version))

    return answer


def acknowledge(data: bytes) -> bytes:
    """The answer of a device that takes every request and does nothing."""
    asked = [item for item in Decoder().feed(data) if isinstance(item, Frame)]
    heads = [(frame.epoch, frame.seq + 1) for frame in asked if not frame.flags & FrameFlag.UNNUMBERED]
    return b"".join(encode(Frame(Type.ACK, epoch=epoch, ack=ack, flags=FrameFlag.UNNUMBERED)) for epoch, ack in heads)


class Lossy:
    """A stream that drops, doubles and changes one byte in a thousand, each way."""

    description = "a bad line"

    def __init__(self, inner: ByteStream, seed: int) -> None:
        self.inner = inner
        self.rng = random.Random(seed)
        self.faults = 0

    def spoil(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            fault = self.rng.randrange(3000)
            self.faults += fault < 3
            out += {0: b"", 1: bytes([byte, byte]), 2: bytes([byte ^ 16])}.get(fault, bytes([byte]))
        return bytes(out)

    def read(self, timeout: float) -> bytes:
        return self.spoil(self.inner.read(timeout))

    def write(self, data: bytes) -> None:
        self.inner.write(self.spoil(data))

    def close(self) -> None:
        self.inner.close()


class RatedLine:
    """A serial line to a device with FAKE_BAUD: each byte goes with its rate, and is heard only at that."""

    description = "a line with a rate"
    bauds = True

    def __init__(self, inner: ByteStream, fastest: int = 3_000_000) -> None:
        self.inner = inner
        self.fastest = fastest
        self.baud = 115200
        self.rest = b""

    def set_baud(self, baud: int) -> None:
        self.baud = baud

    def read(self, timeout: float) -> bytes:
        data = self.rest + self.inner.read(timeout)
        self.rest = data[len(data) & ~1 :]
        pairs = zip(data[0 : len(data) & ~1 : 2], data[1::2], strict=True)
        return bytes(byte if rate == self._unit() else byte & 0x1E for rate, byte in pairs)

    def write(self, data: bytes) -> None:
        self.inner.write(b"".join(bytes([self._unit(), byte]) for byte in data))

    def _unit(self) -> int:
        return self.baud // 9600 if self.baud <= self.fastest else 0

    def close(self) -> None:
        self.inner.close()
