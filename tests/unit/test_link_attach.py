# SPDX-License-Identifier: Apache-2.0
"""How host and device find one another: hello in every state, other programs, restarts, one host after another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.bench.evaluate import evaluate
from host.errors import DeviceRestarted, TargetError
from host.link.client import Client
from host.link.frames import Damaged, Decoder, Frame, Text, encode
from host.schema.wire import answers, requests
from host.schema.wire.answers import Reason
from host.schema.wire.constants import RELEASE
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState, Hello, HelloReply
from tests.support.link import Open, Scripted, fake_clients, fake_of, hello_payload, hello_reply, refused
from tests.support.lockstep import LockstepLine
from tests.support.tiny import tiny_image, tiny_llama


@pytest.fixture
def device() -> Iterator[Open]:
    with fake_clients() as start:
        yield start


def test_hello_tells_what_the_device_is(device: Open) -> None:
    info = device().info
    assert (info.board, info.isa, info.kernels, info.harts) == ("fake", "none", "fake", 1)
    assert info.firmware == RELEASE
    assert (info.vocab, info.context, info.max_rows, info.sessions) == (300, 256, 16, 2)
    assert info.root == b"\x5a" * 32
    assert (info.state, info.error, info.detail) == (DeviceState.READY, 0, 0)
    assert info.arena_available == 1 << 20


def test_the_boot_report_is_text_on_the_line(device: Open) -> None:
    lines: list[str] = []
    client = device(connect=False, noise="U-Boot 2024.01\r\n")
    client.line.console = lines.append
    client.connect()
    text = "\n".join(lines)
    assert "U-Boot 2024.01" in text
    assert "hartspeak" in text
    assert "image 5a5a5a5a: 1.1 MiB" in text
    assert "ready" in text


def test_a_device_announces_itself_until_a_host_speaks(device: Open) -> None:
    client = device(connect=False)
    stream = fake_of(client)
    heard = [item for item in Decoder().feed(stream.read_for(1.6)) if isinstance(item, Frame)]
    assert len(heard) >= 2
    assert all(frame.type == Type.HELLO_REPLY and frame.epoch == 0 for frame in heard)
    client.connect()
    assert stream.read_for(1.4) == b""


def test_ping_and_hello_are_answered_inside_a_step(device: Open) -> None:
    client = device(step_us=6_000_000)
    client.prompt([1])
    run = client.generate(1000)
    client.ping()
    info = Client(client.stream, patience=20).connect(resume=True)
    assert (info.state, info.running, info.run) == (DeviceState.RUNNING, run.request, run.request)


def test_hello_right_behind_generate_is_told_of_that_run(device: Open) -> None:
    client = device(step_us=6_000_000)
    client.prompt([1])
    real, held = client.stream.write, bytearray()
    client.stream.write = held.extend  # type: ignore[method-assign]
    run = client.generate(1000)
    client.stream.write = lambda data: real(bytes(held) + data)  # type: ignore[method-assign]
    info = Client(client.stream, patience=20).connect(resume=True)
    assert (info.state, info.running, info.run) == (DeviceState.RUNNING, run.request, run.request)


def test_a_new_host_takes_over_a_device_that_is_generating(device: Open) -> None:
    client = device(step_us=20_000)
    client.prompt([1])
    client.generate(100_000)
    newcomer = Client(client.stream, patience=20)
    newcomer.connect()
    assert newcomer.truncate(0) == 0
    newcomer.prompt([7])
    assert [token.id for token in newcomer.generate(2)] == [8, 9]


def test_hello_is_answered_while_the_image_is_checked(device: Open, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    client = device(connect=False, verify_hold=held)

    def end_the_check(item: Frame | Text | Damaged) -> None:
        if isinstance(item, Frame) and item.type == Type.HELLO_REPLY:
            assert HelloReply.parse(item.payload).state == DeviceState.CHECKING or not held.exists()
            held.unlink(missing_ok=True)

    client.line.trace = end_the_check
    assert client.connect().state == DeviceState.READY
    assert not held.exists()


def test_an_end_of_the_check_that_comes_with_the_answer_is_not_awaited() -> None:
    """A small image is checked before the host has read that the check is under way."""
    states = [DeviceState.CHECKING, DeviceState.READY]

    def answer(data: bytes) -> bytes:
        (frame,) = Decoder().feed(data)
        assert isinstance(frame, Frame)
        reply = encode(
            Frame(Type.HELLO_REPLY, hello_payload(Hello.parse(frame.payload), state=states[0]), epoch=frame.epoch)
        )
        del states[: len(states) - 1]
        announced = Hello.parse(bytes(Hello.sizeof()))
        return reply + encode(Frame(Type.HELLO_REPLY, hello_payload(announced, state=states[0]), epoch=frame.epoch))

    line = Scripted(answer)
    assert line.client(20).connect().state == DeviceState.READY
    assert line.now == 0


def test_the_announcement_behind_a_load_tells_what_the_device_then_is(device: Open) -> None:
    client = device()
    client.memory.unload()
    client.connection.send(Type.LOAD, requests.Load, answered=False)
    heard = [item for item in Decoder().feed(fake_of(client).read_for(0.5)) if isinstance(item, Frame)]
    told = [HelloReply.parse(frame.payload) for frame in heard if frame.type == Type.HELLO_REPLY]
    assert [(hello.request, hello.state, hello.running) for hello in told] == [(0, DeviceState.READY, 0)]


def test_nobody_takes_the_image_away_under_the_check(device: Open, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    client = device(connect=False, verify_hold=held)
    asked: list[int] = []
    refused: list[int] = []

    def unload_then_end_the_check(item: Frame | Text | Damaged) -> None:
        if not isinstance(item, Frame):
            return
        if item.type == Type.HELLO_REPLY and not asked:
            asked.append(client.connection.send(Type.UNLOAD, requests.Unload, answered=False))
        elif item.type in (Type.ERROR, Type.OK):
            refused.append(answers.Error.parse(item.payload).code if item.type == Type.ERROR else 0)
            held.unlink(missing_ok=True)

    client.line.trace = unload_then_end_the_check
    assert client.connect().state == DeviceState.READY
    assert refused == [67]
    client.prompt([1, 2])
    assert [token.id for token in client.generate(2)] == [3, 4]


@pytest.mark.parametrize("settings", [{"load_error": 12}, {"verify_error": 12}])
def test_without_a_model_the_device_says_why(device: Open, settings: dict[str, int]) -> None:
    lines: list[str] = []
    client = device(connect=False, **settings)
    client.line.console = lines.append
    info = client.connect()
    assert (info.state, info.error) == (DeviceState.NO_MODEL, 12)
    assert any("error 12: the model's memory plan does not fit" in line and "--context" in line for line in lines)
    with refused("ARENA_SMALL"):
        client.require_model()
    with refused("NOT_READY"):
        client.truncate(0)
    assert client.ping() < 5
    assert client.stats() is not None


def test_a_firmware_of_another_protocol_version_is_named() -> None:
    with pytest.raises(TargetError, match=r"4 to 4\b.*\b2 to 2\b"):
        Scripted(hello_reply(4)).client(20).connect()


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (b"login: root\r\n", r"(?s)another program.*login: root"),
        (b"StarFive # ", r"(?s)another program.*StarFive # "),
        (b"\xff\xfe\x80\0\x81\x9c\0", "baud rate"),
        (b"\xf8\xe0\x80\xff" * 40, "baud rate"),
        (encode(Frame(Type.HELLO_REPLY)), r"\bRX\b"),
        (b"", "host ports"),
    ],
)
def test_who_gets_no_answer_is_told_what_came_instead(came: bytes, words: str) -> None:
    stream = Scripted()
    stream.waiting = came
    with pytest.raises(TargetError, match=words):
        stream.client(0.3).connect(timeout=0.3)


def test_a_line_that_is_its_own_echo_says_so() -> None:
    with pytest.raises(TargetError, match=r"\bTX and RX\b"):
        Scripted(lambda data: data).client(20).connect()


@pytest.mark.parametrize(
    ("noise", "words"),
    [(b"\xff\xfe\x80\0\x81", "baud rate"), (b"resetting ...\r\n", "another program")],
)
def test_words_without_end_do_not_keep_a_host_waiting(noise: bytes, words: str) -> None:
    line = Scripted(noise=noise)
    with pytest.raises(TargetError, match=words):
        line.client(20).connect(15)
    assert line.now < 31


def test_a_shell_that_answers_every_hello_is_given_up() -> None:
    shell = Scripted(lambda _: b"sh: 1: not found\r\nlogin: ")
    with pytest.raises(TargetError, match=r"(?s)another program.*sh: 1: not found"):
        shell.client(30).connect(timeout=0.6)
    assert shell.now < 5


def test_a_device_that_restarts_in_mid_answer_is_reported_as_that(device: Open) -> None:
    client = device(step_us=20_000)
    client.prompt([1])
    run = client.generate(1000)
    next(run)
    fake_of(client).restart()
    with pytest.raises(DeviceRestarted, match=r"\bready\b"):
        run.finish()


def test_a_restart_in_mid_answer_is_noticed_within_a_second(tmp_path: Path) -> None:
    """By the clock of a simulated line: the second announcement tells."""
    tiny_image(tmp_path / "tiny.hsp", tiny_llama())
    line = LockstepLine(tmp_path / "tiny.hsp", op_seconds=1e-3)
    try:
        client = Client(line, patience=20, clock=line.now)
        client.connect()
        client.prompt([1])
        run = client.generate(100)
        next(run)
        line.reset()
        started = line.seconds
        with pytest.raises(DeviceRestarted):
            run.finish()
        assert line.seconds - started < 1.0
    finally:
        line.close()


def test_a_restored_session_goes_on_with_the_same_tokens(device: Open) -> None:
    lines: list[str] = []
    client = device(step_us=2_000)
    client.recovery.wanted, client.line.console = True, lines.append
    client.prompt(range(100, 140), session=0)
    client.prompt([7], session=1)
    run = client.generate(60)
    got = [next(run).id for _ in range(20)]
    fake_of(client).restart()
    got += [token.id for token in run]
    assert got == list(range(140, 200))
    assert run.done is not None
    assert (run.done.generated, run.done.length, run.done.reason) == (60, 100, Reason.LENGTH)
    assert any("sessions are restored" in line for line in lines)
    assert [token.id for token in client.generate(2, session=1)] == [8, 9]
    fake_of(client).restart()
    assert client.prompt([5]) == 101
    assert [token.id for token in client.generate(1)] == [6]


def test_an_evaluation_goes_on_after_a_restart(device: Open) -> None:
    windows = [list(range(100, 140)), list(range(50, 80))]
    expected = evaluate(device(), windows)
    client = device(step_us=5_000)

    def restart(done: int, _total: int) -> None:
        if done in (10, 45):
            fake_of(client).restart()

    client.recovery.wanted = True
    assert evaluate(client, windows, progress=restart) == expected
    client.recovery.wanted = False
    with pytest.raises(DeviceRestarted):
        evaluate(client, windows, progress=restart)


def test_a_stream_that_ended_is_opened_again(device: Open) -> None:
    client = device(step_us=2_000)
    client.recovery.wanted = True
    client.line.reopen = lambda: device(connect=False).stream
    client.prompt([1])
    run = client.generate(50)
    next(run)
    stream = fake_of(client)
    stream.process.kill()
    assert [token.id for token in run] == list(range(3, 52))


def test_a_new_host_takes_up_the_answer_of_the_one_before(device: Open, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    client = device(step_hold=held, hold_at=30)
    client.prompt([1])
    run = client.generate(60)
    next(run)
    newcomer = Client(client.stream, patience=20)
    info = newcomer.connect(resume=True)
    assert info.state == DeviceState.RUNNING
    held.unlink()
    resumed = newcomer.resume()
    assert [token.id for token in resumed] == list(range(2, 62))
    assert resumed.done is not None
    assert resumed.done.generated == 60
    latest = Client(client.stream, patience=20)
    assert latest.connect(resume=True).state == DeviceState.READY
    assert [token.id for token in latest.resume(50)] == list(range(52, 62))
    with refused("RUN"):
        latest.resume(61)


def test_an_answer_is_gone_with_the_session_that_was_emptied(device: Open) -> None:
    first = device()
    first.prompt([1, 2, 3])
    answer = first.generate(5)
    assert [token.id for token in answer] == list(range(4, 9))
    other = Client(first.stream, patience=20)
    assert other.connect(resume=True).run_tokens == 5
    other.truncate(0)
    last = Client(first.stream, patience=20)
    info = last.connect(resume=True)
    assert (info.run, info.run_tokens) == (0, 0)
    with pytest.raises(TargetError, match="no answer"):
        last.resume()


def test_the_engine_does_not_wait_for_a_host_that_does_not_listen(device: Open, tmp_path: Path) -> None:
    client = device(context=256, mark=tmp_path / "done", mark_at=250)
    client.prompt([1])
    run = client.generate(250)
    while not (tmp_path / "done").exists():
        time.sleep(0.01)
    newcomer = Client(client.stream, patience=20)
    info = newcomer.connect(resume=True)
    assert (info.state, info.run, info.run_tokens) == (DeviceState.READY, run.request, 250)


def test_a_dead_simulator_is_noticed_at_once(device: Open) -> None:
    client = device(step_us=10_000)
    client.prompt([1])
    run = client.generate(1000)
    next(run)
    stream = fake_of(client)
    client.device.patience = float("inf")
    stream.process.kill()
    with pytest.raises(TargetError, match="ended with -9"):
        run.finish()


def test_the_device_ends_when_its_line_is_closed(device: Open) -> None:
    stream = fake_of(device(step_us=10_000))
    assert stream.process.stdin is not None
    stream.process.stdin.close()
    assert stream.process.wait(120) == 0
