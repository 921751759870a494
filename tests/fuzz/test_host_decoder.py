# SPDX-License-Identifier: Apache-2.0
"""The host's end of the link against a device that sends anything: nothing comes out of it but its own errors."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.errors import HostError
from host.link.attach import HELLO_HEAD
from host.link.client import Client
from host.link.describe import describe
from host.link.frames import Damaged, Decoder, Frame, Text, encode
from host.link.records import SamplerParams
from host.schema.wire.header import Type
from host.schema.wire.hello import Hello
from host.schema.wire.messages import MESSAGES
from host.schema.wire.payload import SIZES, PayloadSizes
from host.schema.wire.requests import Space
from tests.support.link import hello_payload

ANSWERS = [kind for kind, message in MESSAGES.items() if message.sender == "device"]
PORTIONS = st.lists(st.one_of(st.binary(max_size=300), st.just(b"\0"), st.just(b"\0\x01\x02")), max_size=12)


@given(PORTIONS)
def test_the_decoder_takes_any_bytes_and_loses_none(portions: list[bytes]) -> None:
    decoder = Decoder()
    out = [item for portion in portions for item in decoder.feed(portion)] + decoder.flush()
    frames = sum(isinstance(item, Frame) for item in out)
    kept = sum(len(item.data) for item in out if isinstance(item, Damaged))
    lines = sum(len(item.line.encode()) for item in out if isinstance(item, Text))
    bytes_in = b"".join(portions)
    ends = bytes_in.count(b"\n") + bytes_in.count(b"\r") + bytes_in.count(b"\0")
    assert frames or kept + lines >= len(bytes_in) - ends


class Liar:
    """A device that answers HELLO as it should, then so many frames with others of its own making, then nothing."""

    description = "a device that lies"

    def __init__(self, seed: int, garbage: bytes) -> None:
        self.rng = random.Random(seed)
        self.garbage = garbage
        self.now = 0.0
        self.waiting = b""
        self.decoder = Decoder()
        self.seq = self.epoch = 0
        self.left = 60

    def clock(self) -> float:
        self.now += 1e-4
        return self.now

    def read(self, timeout: float) -> bytes:
        self.now += 1e-3 if self.waiting else max(timeout, 1e-3)
        data, self.waiting = self.waiting, b""
        return data

    def write(self, data: bytes) -> None:
        for item in self.decoder.feed(data):
            if isinstance(item, Frame) and self.left:
                self.left -= 1
                self.epoch = item.epoch
                self.waiting += self.hello(item) if item.type == Type.HELLO else self.lies(item)

    def close(self) -> None:
        pass

    def frame(self, kind: int, payload: bytes, ack: int) -> bytes:
        self.seq += self.rng.choice([1, 1, 1, 1, 0, 2])
        return encode(Frame(kind, payload, epoch=self.epoch, seq=self.seq % 65536, ack=ack % 65536))

    def hello(self, asked: Frame) -> bytes:
        hello = Hello.parse(asked.payload)
        payload = hello_payload(hello)
        if self.rng.random() < 0.1:
            payload = payload[:HELLO_HEAD] + self.rng.randbytes(len(payload) - HELLO_HEAD)
        self.seq = -1
        return encode(Frame(Type.HELLO_REPLY, payload, epoch=asked.epoch))

    def lies(self, asked: Frame) -> bytes:
        """Frames of any kind; most are about the request, as long as they should be, and count what follows."""
        out = [self.garbage]
        for _ in range(self.rng.randrange(4)):
            kind = self.rng.choice([*ANSWERS, *ANSWERS, *ANSWERS, self.rng.randrange(256)])
            sizes = SIZES.get(kind, PayloadSizes(8, 0, 0))
            count = self.rng.randrange(4) if sizes.record else 0
            payload = bytearray(asked.payload[:4] + self.noise(sizes.fixed - 4 + count * sizes.record))
            if sizes.record:
                payload[sizes.count : sizes.count + 4] = count.to_bytes(4, "little")
            cut = self.rng.choice([len(payload)] * 7 + [self.rng.randrange(len(payload) + 1)])
            out.append(self.frame(kind, bytes(payload[:cut]), asked.seq + self.rng.choice([1, 1, 1, 0, 30000])))
        return b"".join(out)

    def noise(self, size: int) -> bytes:
        """Mostly zeros, or nothing would be in range."""
        share = self.rng.choice([0.0, 0.02, 0.3])
        return bytes(self.rng.randrange(256) if self.rng.random() < share else 0 for _ in range(size))


CALLS: list[Callable[[Client], object]] = [
    lambda client: client.ping(),
    lambda client: client.prompt([1, 2, 3]),
    lambda client: list(client.generate(3, SamplerParams(), [0])),
    lambda client: list(client.score()),
    lambda client: client.stats(),
    lambda client: client.sessions.contents(0),
    lambda client: client.memory.await_data(client.memory.send_read(Space.SESSION, 0, 0, 8)),
    lambda client: list(client.resume(0)),
]


@pytest.mark.parametrize("call", range(len(CALLS)))
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([b"", b"login: \r\n", b"\0\xff\0", b"\0\x05abc"]))
def test_a_client_of_a_lying_device_gives_host_errors_only(call: int, seed: int, garbage: bytes) -> None:
    liar = Liar(seed, garbage)
    client = Client(liar, patience=3, clock=liar.clock)
    with contextlib.suppress(HostError):
        client.connect(timeout=5)
        CALLS[call](client)


@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_frame_can_be_described(kind: int, payload: bytes) -> None:
    assert describe(Frame(kind, payload))
