# SPDX-License-Identifier: Apache-2.0
"""A device that lies: too much, too little, for ever, or what was not asked for.

The host holds it to what was asked, to the image and to the clock: it ends with DeviceFaulty (exit 7) or TargetError.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from host.bench.evaluate import evaluate
from host.errors import DeviceFaulty, TargetError
from host.image.reader import Image
from host.link import limits
from host.link.client import Client
from host.link.frames import MAX_LINE, Decoder, Frame, Text, encode
from host.schema.wire import answers
from host.schema.wire.constants import NO_TOKEN, VERSION_MAX
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState
from host.talk.opening import LoadedModel, most_session_bytes
from tests.support.liar import VOCABULARY, Liar, Said, done, message, tokens
from tests.support.liar_calls import adopt, costs, empty, prompt, read, save, score, state, write
from tests.support.link import MODEL, Scripted, hello_reply
from tests.support.tiny import tiny_image, tiny_llama

Lie = Callable[[Any], Said]


def answer(liar: Liar, max_tokens: int = 5) -> list[int]:
    client = liar.client()
    client.prompt([1, 2, 3])
    return [token.id for token in client.generate(max_tokens)]


def test_an_honest_device_is_believed() -> None:
    assert answer(Liar()) == [1, 2, 3, 4, 5]


LIES_OF_GENERATE: dict[str, Lie] = {
    "one token too many": lambda asked: [tokens(asked.request, 0, [1] * 6)],
    "a token behind the vocabulary": lambda asked: [tokens(asked.request, 0, [VOCABULARY])],
    "the largest token there is": lambda asked: [tokens(asked.request, 0, [0xFFFFFFFF])],
    "tokens that go back": lambda asked: [tokens(asked.request, 0, [1, 2]), tokens(asked.request, 1, [2])],
    "no tokens in a message of tokens": lambda asked: [tokens(asked.request, 0, [])],
    "scores": lambda asked: [score(request=asked.request, count=1)],
    "more than it sent": lambda asked: [done(asked.request, [1, 2, 3], 6)],
    "other tokens than it sent": lambda asked: [tokens(asked.request, 0, [1]), done(asked.request, [2], 4)],
    "a longer session": lambda asked: [tokens(asked.request, 0, [1]), done(asked.request, [1], 5)],
    "a shorter session": lambda asked: [tokens(asked.request, 0, [1]), done(asked.request, [1], 3)],
    "a clock that goes back": lambda asked: [
        tokens(asked.request, 0, [1]),
        done(asked.request, [1], 4, first_us=2, total_us=1),
    ],
    "more read than there was": lambda asked: [
        tokens(asked.request, 0, [1]),
        done(asked.request, [1], 4, evaluated=1 << 31),
    ],
    "more progress than work": lambda asked: [
        (Type.PROGRESS, message(Type.PROGRESS, request=asked.request, done=3, total=2))
    ],
    "work without end": lambda asked: [
        (Type.PROGRESS, message(Type.PROGRESS, request=asked.request, done=1, total=1 << 31))
    ],
}


@pytest.mark.parametrize("lie", LIES_OF_GENERATE)
def test_an_answer_is_held_to_what_was_asked(lie: str) -> None:
    with pytest.raises(DeviceFaulty, match="protocol") as caught:
        answer(Liar({Type.GENERATE: LIES_OF_GENERATE[lie]}))
    assert caught.value.exit_code == 7


def while_running(says: Callable[[int], Said]) -> Liar:
    """A device that never ends its GENERATE, and says something at each look at the line."""
    running: list[int] = []
    liar = Liar({Type.GENERATE: lambda asked: running.append(asked.request) or []})
    liar.idle = lambda: says(running[-1]) if running else []
    return liar


def tokens_for_ever() -> Callable[[int], Said]:
    index = itertools.count()
    return lambda request: [tokens(request, next(index), [1])]


FOR_EVER: dict[str, Callable[[int], Said]] = {
    "tokens": tokens_for_ever(),
    "the same progress": lambda request: [
        (Type.PROGRESS, message(Type.PROGRESS, request=request, done=1, total=2)),
    ],
    "results of other requests": lambda request: [tokens(request ^ 1, 0, [1]), done(request ^ 2, [], 3)],
    "answers to pings alone": lambda _request: [],
}


@pytest.mark.parametrize("what", FOR_EVER)
def test_an_answer_that_does_not_get_on_is_given_up(what: str) -> None:
    liar = while_running(FOR_EVER[what])
    with pytest.raises(DeviceFaulty):
        answer(liar, 1000)
    assert liar.now < 2 * limits.work_seconds(2.0, MODEL["weight_bytes"], MODEL["max_rows"]) + 10


def test_a_slow_step_is_waited_for_as_long_as_it_may_take() -> None:
    """A device that is busy with a large model says so by its answers to PING."""
    liar = while_running(FOR_EVER["answers to pings alone"])
    liar.hello = {"weight_bytes": 8 << 30, "image_bytes": 8 << 30, "max_rows": 64}
    with pytest.raises(DeviceFaulty, match="128 s"):
        answer(liar)
    assert 128 < liar.now < 140


def test_who_reads_slowly_is_not_taken_for_a_slow_device() -> None:
    liar = Liar()
    client = liar.client()
    client.prompt([1])
    run = client.generate(3)
    got = []
    for token in run:
        got.append(token.id)
        liar.now += 1e6
    assert got == [1, 2, 3]


HELLOS = [
    {"vocab": 0},
    {"context": 0},
    {"max_rows": 0},
    {"sessions": 0},
    {"pending_limit": 0},
    {"sessions": 0xFFFFFFFF},
    {"vocab": 0xFFFFFFFF},
    {"context": 0xFFFFFFFF},
    {"max_rows": 0xFFFFFFFF},
    {"state": 9},
    {"overflow": 2},
    {"image_bytes": 1 << 63},
    {"weight_bytes": (1 << 64) - 1},
    {"runtime_bytes": 1 << 60},
    {"baud": 0xFFFFFFFF},
]


@pytest.mark.parametrize("values", HELLOS, ids=str)
def test_what_a_device_says_of_itself_must_be_possible(values: dict[str, int]) -> None:
    with pytest.raises(DeviceFaulty, match=next(iter(values))):
        Liar(**values).client()


def test_a_device_without_a_model_has_no_numbers_of_one() -> None:
    nothing = dict.fromkeys(limits.WITH_MODEL, 0)
    assert Liar(state=DeviceState.NO_MODEL, error=65535, detail=(1 << 64) - 1, **nothing).client().info.vocab == 0


def test_a_hello_that_is_cut_short_is_refused() -> None:
    def short(data: bytes) -> bytes:
        frame = Decoder().feed(hello_reply(VERSION_MAX)(data))[0]
        assert isinstance(frame, Frame)
        return encode(Frame(Type.HELLO_REPLY, frame.payload[:50], epoch=frame.epoch))

    with pytest.raises(DeviceFaulty, match="HELLO_REPLY of 50 bytes"):
        Scripted(short).client(2).connect()


def test_names_of_a_device_steer_no_terminal() -> None:
    names = {"firmware": b"\x1b]0;x\x07fw".ljust(24, b"\0"), "board": "\u202eb".encode().ljust(24, b"\0")}
    info = Liar(**names, isa=b"\xff\xfe\x1b[H".ljust(48, b"\0")).client().info
    assert all(word.isprintable() for word in (info.firmware, info.board, info.isa))


def test_an_image_that_is_checked_for_ever_is_given_up() -> None:
    liar = Liar(state=DeviceState.CHECKING, image_bytes=limits.BYTES_CHECKED)
    with pytest.raises(DeviceFaulty, match=r"image .*128 MiB .*--patience"):
        liar.client(10)
    assert 20 < liar.now < 25


def test_an_image_that_this_host_knows_is_checked_no_longer_than_its_own_size_takes() -> None:
    liar = Liar(state=DeviceState.CHECKING, image_bytes=1 << 40)
    client = Client(liar, patience=10, clock=lambda: liar.now)
    client.device.image_bytes = 1 << 20
    with pytest.raises(DeviceFaulty, match="1 MiB"):
        client.connect()
    assert liar.now < 15


def ok(value: int) -> Lie:
    return lambda asked: [(Type.OK, message(Type.OK, request=asked.request, value=value))]


def reply(kind: Type, records: bytes = b"", **values: int) -> Lie:
    return lambda asked: [(kind, message(kind, records, request=asked.request, **values))]


OP = bytes(answers.OpRecord.sizeof())
CALLS: dict[str, tuple[Type, Lie, Callable[[Client], object]]] = {
    "a prompt of 2^32 tokens": (Type.PROMPT, ok(0xFFFFFFFF), prompt),
    "a prompt that is not kept": (Type.PROMPT, ok(0), prompt),
    "a session that is not emptied": (Type.TRUNCATE, ok(7), empty),
    "another kind of answer": (Type.TRUNCATE, reply(Type.DONE), empty),
    "half of what is read": (Type.READ, reply(Type.DATA, bytes(4), count=4, offset=64), read),
    "more than is read": (Type.READ, reply(Type.DATA, bytes(9), count=9, offset=64), read),
    "what lies elsewhere": (Type.READ, reply(Type.DATA, bytes(8), count=8, offset=0), read),
    "half of what is written": (Type.WRITE, ok(3), write),
    "a session of 2^60 bytes": (Type.STATE, reply(Type.STATE_REPLY, bytes=1 << 60), save),
    "a session longer than the context": (Type.STATE, reply(Type.STATE_REPLY, length=257, high=257), state),
    "a session longer than ever": (Type.STATE, reply(Type.STATE_REPLY, length=2, high=1), state),
    "an unknown token that waits": (Type.STATE, reply(Type.STATE_REPLY, b"\xff" * 4, count=1), state),
    "2^32 ops": (Type.STATS, reply(Type.STATS_REPLY, total=0xFFFFFFFF), costs),
    "the same ops again": (Type.STATS, reply(Type.STATS_REPLY, OP, total=9, count=1), costs),
    "other positions than asked": (Type.ADOPT, ok(9), adopt),
}


@pytest.mark.parametrize("what", CALLS)
def test_an_answer_is_the_answer_to_the_question(what: str) -> None:
    kind, lie, call = CALLS[what]
    liar = Liar({kind: lie})
    client = liar.client()
    with pytest.raises(DeviceFaulty, match="protocol"):
        call(client)


def scored(*rows: tuple[Type, bytes], request: int, **values: int) -> Said:
    return [*rows, (Type.DONE, message(Type.DONE, request=request, **values))]


LIES_OF_SCORE: dict[str, Lie] = {
    "rows without end": lambda asked: [score(request=asked.request, count=1, index=i) for i in range(99)],
    "no rows in a message of rows": lambda asked: [score(request=asked.request)],
    "a target behind the vocabulary": lambda asked: [score(VOCABULARY, request=asked.request, count=1)],
    "a guess behind the vocabulary": lambda asked: [score(argmax=VOCABULARY, request=asked.request, count=1)],
    "a target that is not the text's": lambda asked: [score(9, request=asked.request, count=1)],
    "an end before the end": lambda asked: scored(request=asked.request, reason=3, evaluated=3, length=3),
    "logits that nobody asked for": lambda asked: [
        (Type.LOGITS, message(Type.LOGITS, bytes(4), request=asked.request, count=1))
    ],
}


@pytest.mark.parametrize("lie", LIES_OF_SCORE)
def test_scores_are_held_to_the_text(lie: str) -> None:
    client = Liar({Type.SCORE: LIES_OF_SCORE[lie]}).client()
    with pytest.raises(TargetError, match=r"protocol|window"):
        evaluate(client, [[1, 2, 3]])


@pytest.mark.parametrize("value", [-3e38, float("nan"), float("inf")])
def test_a_probability_beyond_all_numbers_is_one_for_the_report(value: float) -> None:
    def say(asked: Any) -> Said:
        records = b"".join(
            answers.ScoreRecord.build(
                {
                    "position": i,
                    "target": 2 if i == 0 else NO_TOKEN,
                    "logprob": value,
                    "argmax": 0,
                    "digest": 0,
                }
            )
            for i in range(2)
        )
        rows = (Type.SCORES, message(Type.SCORES, records, request=asked.request, count=2))
        return scored(rows, request=asked.request, evaluated=2, length=2)

    assert evaluate(Liar({Type.SCORE: say}).client(), [[1, 2]]).tokens == 1


@pytest.mark.parametrize(
    "noise", [b"A" * 4096, b"hello\r\n" * 9, b"\0" * 64, b"\xff\0" * 8], ids=["line", "lines", "zeros", "noise"]
)
def test_words_without_end_are_given_up_at_connecting(noise: bytes) -> None:
    liar = Liar(noise=noise)
    liar.write = lambda _data: None  # type: ignore[method-assign]
    with pytest.raises(TargetError) as caught:
        liar.client()
    assert liar.now < 40
    assert len(str(caught.value)) < 5000


def test_a_line_of_text_is_given_out_in_pieces() -> None:
    lines = Decoder().feed(b"A" * 100_000 + b"\n")
    assert all(isinstance(line, Text) and len(line.line) <= MAX_LINE for line in lines)
    assert sum(len(line.line) for line in lines if isinstance(line, Text)) == 100_000


def test_another_model_under_the_same_name_is_refused(tmp_path: Path) -> None:
    tiny_image(tmp_path / "tiny.hsp", tiny_llama())
    image = Image(tmp_path / "tiny.hsp")
    plan = {name: int(image.plan[name]) for name in ("vocab", "context", "overflow")}
    root = bytes.fromhex(image.root)
    model = LoadedModel(image, Liar(root=root, **plan).client())
    model.check_image()
    assert model.client.device.session_bytes == most_session_bytes(image) < int(image.plan["runtime_bytes"])
    for name in plan:
        with pytest.raises(DeviceFaulty, match=name):
            LoadedModel(image, Liar(root=root, **(plan | {name: plan[name] ^ 1})).client()).check_image()


def test_messages_that_nobody_reads_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_WAITING", 100)
    liar = while_running(tokens_for_ever())
    client = liar.client()
    client.prompt([1])
    client.generate(1000)
    with pytest.raises(DeviceFaulty, match="100 messages"):
        list(iter(client.ping, None))


# ---- anything at all ----
