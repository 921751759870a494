# SPDX-License-Identifier: Apache-2.0
"""Requests and their answers: sessions, generating, scoring, cancelling, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from host.errors import DeviceFailure
from host.link.client import Client
from host.link.records import SamplerParams
from host.schema.wire import requests
from host.schema.wire.answers import Reason
from host.schema.wire.header import Type
from host.schema.wire.messages import MESSAGES
from tests.support.link import Open, ask, fake_clients, refused


@pytest.fixture
def device() -> Iterator[Open]:
    with fake_clients() as start:
        yield start


def test_tokens_come_in_order_with_digest_and_times(device: Open) -> None:
    client = device()
    assert client.prompt(range(100, 140)) == 40
    steps: list[tuple[int, int]] = []
    run = client.generate(5, digest=True, progress=lambda done, total: steps.append((done, total)))
    tokens = list(run)
    assert [token.id for token in tokens] == [140, 141, 142, 143, 144]
    assert len({token.digest for token in tokens}) == 5
    assert 0 not in {token.digest for token in tokens}
    assert steps == [(16, 40), (32, 40), (40, 40)]
    assert run.done is not None
    assert (run.done.reason, run.done.evaluated, run.done.generated, run.done.length) == (Reason.LENGTH, 40, 5, 45)
    assert 0 < run.done.first_us <= run.done.total_us


def test_generation_goes_on_where_it_ended(device: Open) -> None:
    client = device()
    client.prompt([1, 2, 3])
    assert [token.id for token in client.generate(2)] == [4, 5]
    assert [token.id for token in client.generate(2)] == [6, 7]
    client.prompt([50])
    assert [token.id for token in client.generate(1)] == [51]
    assert client.length() == 9


def test_a_stop_id_is_the_last_token(device: Open) -> None:
    client = device()
    client.prompt([1])
    run = client.generate(100, stop_ids=[9, 7])
    assert [token.id for token in run] == [2, 3, 4, 5, 6, 7]
    assert run.done is not None
    assert run.done.reason == Reason.STOP


def test_a_full_context_ends_the_answer(device: Open) -> None:
    client = device(context=20)
    client.prompt(range(15))
    run = client.generate(100)
    assert len(list(run)) == 6
    assert run.done is not None
    assert run.done.reason == Reason.CONTEXT_FULL
    with refused("CONTEXT_FULL"):
        client.prompt([1])
    client.truncate(0)
    assert client.prompt([1]) == 1


def test_cancel_in_the_middle_of_a_prompt_is_obeyed_within_an_op(device: Open) -> None:
    client = device(step_us=400_000)
    client.prompt(range(200))
    run = client.generate(100)
    client.requests.send_cancel(run.request)
    done = run.cancel()
    assert done.reason == Reason.CANCELLED
    assert done.evaluated < 200
    assert done.generated == 0
    assert done.length == 200
    assert client.truncate(0) == 0


def test_cancel_keeps_what_was_said_and_the_session_goes_on(device: Open) -> None:
    client = device(step_us=20_000)
    client.prompt([1])
    run = client.generate(1000)
    first = [next(run).id for _ in range(3)]
    done = client.cancel()
    assert done is not None
    assert done.reason == Reason.CANCELLED
    said = run.tokens
    assert said[:3] == first == [2, 3, 4]
    assert done.generated == len(said)
    assert client.length() == 1 + len(said)
    assert next(client.generate(1)).id == said[-1] + 1


def test_cancel_when_nothing_runs_is_harmless(device: Open) -> None:
    client = device()
    assert client.cancel() is None
    client.requests.send_cancel(0)
    assert client.ping() < 5


def test_a_second_request_is_refused_while_one_runs(device: Open) -> None:
    client = device(step_us=50_000)
    client.prompt([1])
    run = client.generate(1000)
    for request in (
        lambda: client.truncate(0),
        lambda: client.prompt([1]),
        lambda: client.stats(enable=True),
    ):
        with refused("BUSY"):
            request()
    assert client.stats().ops
    client.running.active = run
    run.cancel()
    assert client.truncate(0) == 0


def test_score_gives_each_position(device: Open) -> None:
    client = device()
    client.prompt([1, 2, 3, 9, 10, 11])
    run = client.score(digest=True)
    rows = list(run)
    assert [row.position for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row.target for row in rows] == [2, 3, 9, 10, 11, None]
    assert [row.argmax for row in rows] == [2, 3, 4, 10, 11, 12]
    assert rows[-1].logprob == 0
    assert run.done is not None
    assert run.done.evaluated == 6


def test_score_logprobs_are_those_of_the_logits(device: Open) -> None:
    np = pytest.importorskip("numpy")
    google_crc32c = pytest.importorskip("google_crc32c")
    client = device()
    client.prompt([1, 2, 9, 4, 5])
    for row in client.score(logits=True, digest=True):
        assert row.logits is not None
        assert row.logits.shape == (300,)
        assert google_crc32c.value(row.logits.astype("<f4").tobytes()) == row.digest
        wide = row.logits.astype(np.float64)
        if row.target is not None:
            expected = wide[row.target] - wide.max() - np.log(np.exp(wide - wide.max()).sum())
            assert row.logprob == pytest.approx(expected, rel=1e-6)


def test_scores_of_what_is_no_number_end(device: Open) -> None:
    """An image may hold weights that make NaN: the device answers, with NaN."""
    client = device(nan=1)
    client.prompt([1, 2, 3])
    rows = list(client.score())
    assert [row.logprob == row.logprob for row in rows] == [False, False, True]
    assert client.ping() >= 0


def test_sessions_are_apart_and_truncate_rolls_back(device: Open) -> None:
    client = device()
    client.prompt([1, 2, 3], session=0)
    client.prompt([100], session=1)
    assert [token.id for token in client.generate(2, session=0)] == [4, 5]
    assert [token.id for token in client.generate(2, session=1)] == [101, 102]
    assert client.truncate(2, session=0) == 2
    client.prompt([20], session=0)
    assert client.truncate(2, session=0) == 2
    client.prompt([30], session=0)
    assert [token.id for token in client.generate(1, session=0)] == [31]
    with refused("POSITION"):
        client.truncate(100, session=0)


def unchecked(temperature: float) -> SamplerParams:
    """Parameters that this host would refuse: the device must, too."""
    params = SamplerParams()
    object.__setattr__(params, "temperature", temperature)
    return params


@pytest.mark.parametrize(
    ("name", "request_it"),
    [
        ("SESSION", lambda c: c.truncate(0, session=2)),
        ("SESSION", lambda c: (c.ledger.lengths.update({9: 0}), c.prompt([1], session=9))),
        ("TOKEN", lambda c: c.prompt([1, 300])),
        ("CONTEXT_FULL", lambda c: c.prompt([1] * 257)),
        ("ROWS", lambda c: next(c.generate(1))),
        ("ROWS", lambda c: next(c.score())),
        ("PARAMETER", lambda c: (c.prompt([1]), next(c.generate(1, unchecked(-1.0))))),
        ("PARAMETER", lambda c: (c.prompt([1]), next(c.generate(1, unchecked(float("nan")))))),
        ("POSITION", lambda c: (c.length(), c.ledger.lengths.update({0: 5}), c.prompt([1]))),
    ],
)
def test_bad_parameters_are_refused_by_name(device: Open, name: str, request_it: Callable[[Client], object]) -> None:
    client = device()
    with refused(name):
        request_it(client)
    client.ledger.lengths.clear()
    client.prompt([1])
    assert next(client.generate(1)).id == 2


def test_a_refused_prompt_leaves_nothing_behind(device: Open) -> None:
    client = device()
    client.prompt([1])
    with refused("TOKEN"):
        client.prompt([5, 6, 999])
    assert client.prompt([8]) == 2


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (0x55, b"\x09\0\0\0"),
        (Type.OK, b"\x09\0\0\0" + bytes(4)),
        (Type.GENERATE, b"\x09\0\0\0" + bytes(20)),
        (Type.TRUNCATE, b"\x09\0\0\0" + bytes(9)),
        (Type.PROMPT, b"\x09\0\0\0" + bytes(8) + b"\x05\0\0\0" + bytes(12)),
        (Type.PROMPT, b"\x09\0\0\0" + bytes(8) + b"\xff\xff\xff\xff" + bytes(12)),
        (Type.HELLO, b"\x09\0\0\0"),
    ],
)
def test_an_unknown_or_malformed_message_is_refused(device: Open, kind: int, payload: bytes) -> None:
    client = device()
    ask(client, payload, kind)
    with refused("MESSAGE"):
        client.connection.await_answer(9)
    assert client.ping() < 5


def test_a_message_without_a_request_id_is_refused_as_request_0(device: Open) -> None:
    client = device()
    ask(client, b"\1", Type.PING)
    client.connection.expect(0)
    with refused("MESSAGE"):
        client.connection.await_answer(0)


def test_another_protocol_version_is_refused(device: Open) -> None:
    client = device()
    ask(client, requests.Ping.build({"request": 9, "value": 1}), Type.PING, version=3)
    with refused("PROTOCOL"):
        client.connection.await_answer(9)


def test_stats_by_op_are_paged_and_switched(device: Open) -> None:
    client = device()
    client.stats(enable=True, reset=True)
    client.prompt([1])
    client.generate(3).finish()
    ops = client.stats().ops
    assert [op.weight for op in ops] == list(range(20))
    assert ops[0].calls == 3
    client.stats(enable=False)
    assert client.stats().ops[0].calls == 0


@pytest.mark.parametrize("other", [0, 100])
def test_a_prompt_longer_than_the_queue_is_evaluated_in_parts(device: Open, other: int) -> None:
    """Beside tokens that wait already: the last of an answer, and a prompt of another session."""
    client = device(context=20_000)
    room = client.info.pending_limit
    client.prompt([5] * other, session=1)
    client.prompt([299])
    client.generate(1).finish()
    client.prompt([token % 300 for token in range(1, room + 1)])
    run = client.generate(1)
    assert next(run).id == (room + 1) % 300
    assert run.finish().evaluated < room
    assert client.length(1) == other


def test_a_queue_that_other_sessions_fill_is_told(device: Open) -> None:
    client = device(context=20_000)
    client.prompt([5] * client.info.pending_limit, session=1)
    with pytest.raises(DeviceFailure, match="PENDING"):
        client.prompt([1])


def test_ctrl_c_between_frames_cancels_on_the_device(device: Open) -> None:
    client = device(step_us=20_000)
    client.prompt([1])
    run = client.generate(100_000)
    next(run)
    client.line.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    done = client.cancel()
    assert done is not None
    assert done.reason == Reason.CANCELLED
    assert client.truncate(0) == 0


def test_well_formed_frames_with_any_contents_do_not_harm_the_device(device: Open) -> None:
    client = device()
    client.prompt([1, 2, 3])
    client.generate(1).finish()
    rng = random.Random(4)
    sizes = {kind: message.head.sizeof() for kind, message in MESSAGES.items()}
    for _ in range(1500):
        kind = rng.choice([*(each for each in sizes if each < 0x80), rng.randrange(256)])
        size = rng.choice([sizes.get(kind, 8), rng.randrange(513)])
        words = [
            rng.choice([0, 1, 2, 3, 5, 16, 124, 255, 0x7F800000, 0xFFFFFFFF, rng.getrandbits(32)]) for _ in range(128)
        ]
        ask(client, b"".join(word.to_bytes(4, "little") for word in words)[:size], kind)
        if kind == Type.HELLO and size >= 12:
            client.connection.delivery.send_next = 1
        client.stream.read(0)
    client.requests.send_cancel(0)
    newcomer = Client(client.stream, patience=20)
    newcomer.connect()
    newcomer.truncate(0)
    newcomer.prompt([5])
    assert next(newcomer.generate(1)).id == 6
