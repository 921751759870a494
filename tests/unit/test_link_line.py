# SPDX-License-Identifier: Apache-2.0
"""What the line does: damage, gaps, noise without end, rates."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host import pytest_device
from host.compiler.compile import Options
from host.errors import TargetError, UsageError
from host.link.client import Client
from host.link.frames import Decoder, Frame, Text, encode
from host.link.rate import line_rate
from host.schema.wire import requests
from host.schema.wire.constants import VERSION_MAX
from host.schema.wire.header import Type
from host.targets import parse_spec
from host.targets.hooks import Hooks
from tests.support.fake_device import FakeDevice
from tests.support.link import Lossy, Open, RatedLine, Scripted, acknowledge, ask, fake_clients, hello_reply, refused
from tests.support.tiny import tiny_image, tiny_llama


@pytest.fixture
def device() -> Iterator[Open]:
    with fake_clients() as start:
        yield start


@pytest.mark.parametrize("noise", [b"\xff\xfe\x80\0\x81", b"still here\r\n"])
def test_a_device_that_only_makes_noise_in_a_request_is_given_up(noise: bytes) -> None:
    line = Scripted(hello_reply(VERSION_MAX))
    client = line.client(20)
    client.connect()
    line.answers, line.noise = (acknowledge,), noise
    with pytest.raises(TargetError, match=r"\bframe\b.* 20 s\b"):
        client.truncate(0)
    assert line.now < 25


def test_a_host_that_was_stopped_does_not_blame_the_device(device: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    client = device()
    client.prompt([1])
    run = client.generate(50)
    next(run)

    def stop(_timeout: float) -> bytes:
        monkeypatch.undo()
        client.line.now = lambda: time.monotonic() + 1000
        return b""

    monkeypatch.setattr(client.stream, "read", stop)
    assert [token.id for token in run] == list(range(3, 52))


def test_damaged_doubled_and_stale_frames_are_dropped_and_counted(device: Open) -> None:
    client = device()
    before = client.stats()
    ping = requests.Ping.build({"request": 9, "value": 1})
    ask(client, ping, Type.PING)
    client.connection.delivery.send_next -= 1
    ask(client, ping, Type.PING)
    before_next = client.connection.delivery.send_next
    wire = bytearray(
        encode(Frame(Type.PING, ping, epoch=client.connection.delivery.epoch, seq=client.connection.delivery.send_next))
    )
    client.stream.write(bytes(wire[: len(wire) // 2]) + b"\0")
    wire[10] ^= 4
    client.stream.write(bytes(wire))
    client.stream.write(encode(Frame(Type.PING, ping, epoch=client.connection.delivery.epoch ^ 1, seq=50)))
    client.stream.write(b"some typed text\r\n\0")
    client.stream.write(encode(Frame(Type.PING, ping, epoch=client.connection.delivery.epoch, seq=before_next + 3)))
    client.ping()  # the device has asked for what seemed lost: it shall not meet the STATS
    after = client.stats()
    assert after.frames_damaged - before.frames_damaged >= 3
    assert after.frames_duplicate - before.frames_duplicate == 1
    assert after.frames_lost - before.frames_lost == 1


def test_a_gap_in_the_token_stream_is_asked_for_again(device: Open) -> None:
    client = device()
    client.prompt([1])
    run = client.generate(5)
    real = client.stream.read
    skipped: list[bytes] = []

    def lossy(timeout: float) -> bytes:
        data = real(timeout)
        while not skipped and data.count(b"\0\0") < 2:
            data += real(timeout)
        parts = data.split(b"\0\0")
        if not skipped:
            skipped.append(parts.pop(1))
        return b"\0\0".join(parts)

    client.stream.read = lossy  # type: ignore[method-assign]
    assert [token.id for token in run] == [2, 3, 4, 5, 6]
    assert skipped
    assert client.connection.delivery.lost or client.stats().frames_repeated


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_on_a_line_that_loses_doubles_and_changes_bytes(device: Open, seed: int) -> None:
    client = device()
    line = Lossy(client.stream, seed)
    client.line.stream = line
    for _ in range(2):
        client.truncate(0)
        client.prompt(range(100, 140))
        assert [token.id for token in client.generate(60)] == list(range(140, 200))
        assert [row.argmax for row in client.score()] == [200]
        client.truncate(0)
        client.prompt([1, 2, 3])
        assert [row.position for row in client.score(logits=True)] == [0, 1, 2]
    assert line.faults > 10


def test_a_trap_of_the_firmware_in_mid_stream_is_console_text(device: Open) -> None:
    lines: list[str] = []
    client = device()
    client.line.console = lines.append
    real = client.stream.read
    noise = [b"trap: cause 5\r\n"]
    client.stream.read = lambda timeout: real(timeout) + (noise.pop() if noise else b"")  # type: ignore[method-assign]
    client.prompt([1])
    assert [token.id for token in client.generate(3)] == [2, 3, 4]
    assert lines == ["trap: cause 5"]


def test_console_text_is_a_line_of_its_own() -> None:
    assert Decoder().feed(b"one\r\ntwo\n") == [Text("one"), Text("two")]


def test_a_device_that_falls_silent_in_a_request_is_given_up() -> None:
    stream = Scripted(hello_reply(VERSION_MAX))
    client = stream.client(0.3)
    client.connect()
    stream.answers = ()
    with pytest.raises(TargetError, match="silent"):
        client.ping()


SLOW = 3
"""Times that the clocks of both ends are slowed down: a new rate is tried for half a second, which is short here."""


def slow_clock() -> float:
    return time.monotonic() / SLOW


@pytest.fixture
def rated(device: Open) -> Open:
    def start(fastest: int = 3_000_000, **settings: object) -> Client:
        line = RatedLine(device(connect=False, baud=1, slow=SLOW, **settings).stream, fastest)
        client = Client(line, patience=20, clock=slow_clock)
        client.connect()
        return client

    return start


def test_the_device_offers_the_rates_that_its_clock_makes(rated: Open, device: Open) -> None:
    info = rated().info
    assert (info.uart_clock_hz, info.baud) == (24_000_000, 115200)
    assert info.bauds == (9600, 57600, 115200, 500000, 1500000)
    assert (device().info.baud, device().info.bauds) == (0, ())


def test_the_rate_is_changed_and_the_answer_goes_on(rated: Open) -> None:
    client = rated()
    assert client.set_baud(1_500_000)
    client.prompt([1])
    assert [token.id for token in client.generate(5)] == [2, 3, 4, 5, 6]
    assert client.set_baud(115200)
    assert [token.id for token in client.generate(2)] == [7, 8]


def test_a_rate_at_which_nothing_comes_through_is_given_up(rated: Open) -> None:
    client = rated(fastest=1_000_000)
    assert not client.set_baud(1_500_000)
    client.prompt([1])
    assert [token.id for token in client.generate(2)] == [2, 3]
    assert client.set_baud(500_000)


def test_a_rate_that_the_uart_cannot_make_is_refused(rated: Open, device: Open) -> None:
    client = rated()
    with refused("BAUD"):
        client.set_baud(921_600)
    with pytest.raises(UsageError, match="--baud"):
        device().set_baud(115200)


def test_a_device_that_was_left_at_another_rate_is_found(rated: Open) -> None:
    client = rated()
    assert client.set_baud(1_500_000)
    client.stream.set_baud(115200)  # type: ignore[attr-defined]
    newcomer = Client(client.stream, patience=20, clock=slow_clock)
    assert newcomer.connect().baud == 115200


def test_auto_takes_the_fastest_rate_that_works_and_leaves_it_at_the_end(rated: Open) -> None:
    client = rated(fastest=1_000_000)
    line = client.stream
    assert isinstance(line, RatedLine)
    with line_rate(client, "auto"):
        assert line.baud == 500_000
        client.prompt([1])
        assert next(client.generate(1)).id == 2
    assert line.baud == 115200
    assert client.ping() < 5
    with pytest.raises(UsageError, match="--baud fast"), line_rate(client, "fast"):
        pass


def test_a_rate_that_this_end_cannot_make_is_given_up(rated: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    client = rated()
    change = RatedLine.set_baud

    def set_baud(line: RatedLine, baud: int) -> None:
        if baud == 1_500_000:
            raise TargetError("the server refuses it")
        change(line, baud)

    monkeypatch.setattr(RatedLine, "set_baud", set_baud)
    with line_rate(client, "auto"):
        assert client.stream.baud == 500_000  # type: ignore[attr-defined]
        assert client.ping() < 5


def test_a_test_sends_its_image_at_the_fastest_rate_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    tiny_image(tmp_path / "tiny.hsp", tiny_llama(), Options(context=64))
    line = RatedLine(FakeDevice(baud=1, slow=SLOW, disk=tmp_path / "disk"), fastest=1_000_000)
    rates: list[int] = []
    monkeypatch.setattr(pytest_device, "open_target", lambda *_words, **_more: line)
    monkeypatch.setattr(pytest_device, "send_image", lambda _client, _image: rates.append(line.baud))
    monkeypatch.setattr(pytest_device, "Client", functools.partial(Client, clock=slow_clock))
    board = pytest_device.Device(parse_spec("serial:/dev/ttyUSB0"), Hooks())
    try:
        client = board.connect(tmp_path / "tiny.hsp")
        assert (rates, line.baud) == ([500_000], 115200)
        client.prompt([1])
        assert next(client.generate(1)).id == 2
    finally:
        board.close()


def test_auto_leaves_a_line_without_rates_as_it_is(device: Open) -> None:
    client = device()
    with line_rate(client, "auto"):
        assert client.ping() < 5


def test_a_restart_at_another_rate_is_noticed_and_restored(rated: Open) -> None:
    client = rated(step_us=2_000)
    line = client.stream
    assert isinstance(line, RatedLine)
    assert isinstance(line.inner, FakeDevice)
    client.recovery.wanted = True
    assert client.set_baud(1_500_000)
    client.prompt([1])
    run = client.generate(40)
    got = [next(run).id for _ in range(10)]
    line.inner.restart()
    line.rest = b""
    assert got + [token.id for token in run] == list(range(2, 42))
    assert line.baud == 115200


def test_a_device_that_has_gone_is_not_asked_for_its_first_rate(rated: Open) -> None:
    client = rated()
    client.device.patience = 1.0
    line = client.stream
    assert isinstance(line, RatedLine)
    assert isinstance(line.inner, FakeDevice)
    process = line.inner.process

    def stop_and_ask() -> None:
        with line_rate(client, "1500000"):
            process.send_signal(signal.SIGSTOP)
            client.ping()

    with pytest.raises(TargetError, match=r"\b1 s\b"):
        stop_and_ask()
    assert line.baud == 1_500_000
