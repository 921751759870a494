# SPDX-License-Identifier: Apache-2.0
"""A device that says anything at all, as long as each message is as it should be."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.bench.evaluate import evaluate
from host.errors import HostError
from host.link.client import Client
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState
from host.schema.wire.messages import MESSAGES
from host.schema.wire.payload import SIZES
from tests.support.liar import Liar, Said
from tests.support.liar_calls import generate, save

NUMBERS = (0, 1, 2, 3, 5, 130, 131, 256, 257, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ANSWERS = [kind for kind, one in MESSAGES.items() if one.sender == "device"]


class Babbler(Liar):
    """Answers requests, and speaks unasked, by random messages that are as they should be."""

    def __init__(self, seed: int, share: float) -> None:
        super().__init__(most=6000)
        self.rng = random.Random(seed)
        self.share = share
        self.request = 0
        self.idle = lambda: [self.anything()] if self.rng.random() < self.share else []
        self.lies = {kind: self.babble for kind in Type if kind not in (Type.HELLO, Type.PING)}
        self.lies |= {kind: self._honest(kind) for kind in self.rng.sample(list(self.lies), 6)}

    def babble(self, asked: Any) -> Said:
        self.request = asked.request
        return [self.anything() for _ in range(self.rng.randrange(4))]

    def number(self) -> int:
        return self.rng.choice(NUMBERS)

    def anything(self) -> tuple[Type, bytes]:
        kind = self.rng.choice(ANSWERS)
        if kind == Type.HELLO_REPLY and self.rng.random() < 0.95:
            kind = Type.TOKENS
        sizes = SIZES[kind]
        words = [self.number().to_bytes(4, "little") for _ in range(-(-sizes.fixed // 4))]
        payload = bytearray(b"".join(words)[: sizes.fixed])
        payload[:4] = self.request.to_bytes(4, "little")
        if kind == Type.DONE:
            payload[4:8] = self.rng.randrange(4).to_bytes(4, "little")
        if sizes.record:
            count = self.rng.randrange(4)
            payload[sizes.count : sizes.count + 4] = count.to_bytes(4, "little")
            numbers = b"".join(self.number().to_bytes(4, "little") for _ in range(count * sizes.record))
            payload += numbers[: count * sizes.record]
        return kind, bytes(payload)


USES: list[Callable[[Client], object]] = [
    generate,
    lambda client: client.prompt(list(range(130)) * 2),
    lambda client: evaluate(client, [[1, 2, 3], [4, 5]]),
    lambda client: client.stats(enable=True, reset=True),
    save,
    lambda client: client.resume().finish(),
    lambda client: client.recovery.recover(),
]


@pytest.mark.parametrize("use", range(len(USES)))
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_any_messages_end_in_a_result_or_an_error_of_ours(use: int, seed: int, share: float, restore: bool) -> None:
    babbler = Babbler(seed, share)
    babbler.hello = {"run": 5, "state": DeviceState.READY}
    with contextlib.suppress(HostError):
        client = babbler.client()
        client.recovery.wanted = restore
        USES[use](client)
