# SPDX-License-Identifier: Apache-2.0
"""A device that restarts again and again: the host goes on where the device gets on, else it gives up and says why."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from host.bench.evaluate import evaluate
from host.errors import DeviceFaulty, TargetError
from host.link.client import Client
from host.link.frames import Frame, encode
from host.schema.wire.header import Type
from tests.support.liar import Liar, Said, done, tokens
from tests.support.liar_calls import costs, generate, prompt, score


def restarting(kind: Type) -> Liar:
    """A device that is another one whenever it is asked for something of this kind."""
    liar = Liar()

    def restart(_asked: Any) -> Said:
        liar.waiting += b"\0\r\nWATCHDOG: no op has ended in time; restarting\r\n\0"
        return liar.restart()

    liar.lies = {kind: restart}
    return liar


def test_last_words_in_the_middle_of_a_frame_are_heard() -> None:
    words = encode(Frame(Type.HELLO_REPLY, bytes(300)))[:200] + b"\r\nWATCHDOG: no op has ended in time\r\n"
    line = Liar()
    client = line.client()
    looks = iter([words])

    def end(_timeout: float) -> bytes:
        for look in looks:
            return look
        raise TargetError("it went away (ended with exit status 0)")

    line.read = end  # type: ignore[method-assign]
    with pytest.raises(TargetError, match="WATCHDOG"):
        client.truncate(0)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (Type.GENERATE, generate),
        (Type.PROMPT, prompt),
        (Type.STATS, costs),
        (Type.SCORE, lambda client: evaluate(client, [[1, 2, 3]])),
    ],
)
def test_a_device_that_restarts_without_end_is_given_up_and_says_why(
    kind: Type, call: Callable[[Client], object]
) -> None:
    liar = restarting(kind)
    client = liar.client(30)
    client.recovery.wanted = True
    with pytest.raises(DeviceFaulty, match=r"(?s)4 times .*WATCHDOG"):
        call(client)


def test_a_device_that_restarts_at_the_same_score_without_end_is_given_up() -> None:
    liar = Liar()

    def first_row(asked: Any) -> Said:
        liar.say([score(request=asked.request, count=1)])
        liar.lies[Type.PING] = restart
        return []

    def restart(_asked: Any) -> Said:
        del liar.lies[Type.PING]
        return liar.restart()

    liar.lies = {Type.SCORE: first_row}
    client = liar.client(30)
    client.recovery.wanted = True
    with pytest.raises(DeviceFaulty, match="4 times"):
        evaluate(client, [[1, 2, 3]])


def test_a_device_that_gets_on_between_its_restarts_goes_on() -> None:
    ids = itertools.count(1)
    liar = Liar()

    def one_token(asked: Any) -> Said:
        given = next(ids)
        return [tokens(asked.request, 0, [given]), *([done(asked.request, [given], 11)] if given == 9 else [])]

    liar.lies = {Type.GENERATE: one_token}
    client = liar.client(30)
    client.recovery.wanted = True
    client.prompt([1, 2])
    got = []
    for token in client.generate(9):
        got.append(token.id)
        if token.id < 9:
            liar.say(liar.restart())
    assert got == list(range(1, 10))
