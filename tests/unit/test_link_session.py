# SPDX-License-Identifier: Apache-2.0
"""The device end of the link, run as a process around a fake engine, against the host end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host.errors import DEVICE_ERRORS, DeviceFailure, DeviceRestarted, TargetError, UsageError
from host.evaluate import evaluate
from host.link import messages
from host.link.client import Client
from host.link.frames import Damaged, Decoder, Frame, Text, encode
from host.link.messages import DeviceState, Reason, Type
from host.link.records import SamplerParams
from host.link.stream import ByteStream
from host.talk import line_rate
from tests.support.fake_device import FakeDevice
from tests.support.lockstep import LockstepLine
from tests.support.tiny import tiny_image, tiny_llama

NUMBERS = {error.name: error.number for error in DEVICE_ERRORS}
Open = Callable[..., Client]


@pytest.fixture
def device() -> Iterator[Open]:
    opened: list[Client] = []

    def start(connect: bool = True, **settings: object) -> Client:
        client = Client(FakeDevice(**settings), patience=20)
        opened.append(client)
        if connect:
            client.connect()
        return client

    yield start
    for client in opened:
        client.stream.close()


def refused(name: str) -> pytest.RaisesExc[DeviceFailure]:
    return pytest.raises(DeviceFailure, match=rf"error {NUMBERS[name]} \({name}\)")


def ask(client: Client, payload: bytes, kind: int, **header: int) -> None:
    """A raw request with the next sequence number, as a host that makes mistakes would send it."""
    seq = client.connection.send_next
    client.connection.send_next += 1
    client._open.add(int.from_bytes(payload[:4], "little"))
    client.stream.write(encode(Frame(kind, payload, epoch=client.connection.epoch, **{"seq": seq, **header})))


def test_hello_tells_what_the_device_is(device: Open) -> None:
    info = device().info
    assert (info.board, info.isa, info.kernels, info.harts) == ("fake", "none", "fake", 1)
    assert info.firmware == messages.RELEASE
    assert (info.vocab, info.context, info.max_rows, info.sessions) == (300, 256, 16, 2)
    assert info.root == b"\x5a" * 32
    assert (info.state, info.error, info.detail) == (DeviceState.READY, 0, 0)
    assert info.arena_available == 1 << 20


def test_the_boot_report_is_text_on_the_line(device: Open) -> None:
    lines: list[str] = []
    client = device(connect=False, noise="U-Boot 2024.01\r\n")
    client.console = lines.append
    client.connect()
    text = "\n".join(lines)
    assert "U-Boot 2024.01" in text
    assert "hartspeak" in text
    assert "image 5a5a5a5a: 1.1 MiB" in text
    assert "ready" in text


def test_a_device_announces_itself_until_a_host_speaks(device: Open) -> None:
    client = device(connect=False)
    stream = client.stream
    assert isinstance(stream, FakeDevice)
    heard = [item for item in Decoder().feed(stream.read_for(1.6)) if isinstance(item, Frame)]
    assert len(heard) >= 2
    assert all(frame.type == Type.HELLO_REPLY and frame.epoch == 0 for frame in heard)
    client.connect()
    assert stream.read_for(1.4) == b""


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
    client.send_cancel(run.request)
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
    client.send_cancel(0)
    assert client.ping() < 5


def test_ping_and_hello_are_answered_inside_a_step(device: Open) -> None:
    client = device(step_us=60_000_000)
    client.prompt([1])
    run = client.generate(1000)
    client.ping()
    info = Client(client.stream, patience=20).connect(resume=True)
    assert (info.state, info.running, info.run) == (DeviceState.RUNNING, run.request, run.request)


def test_hello_right_behind_generate_is_told_of_that_run(device: Open) -> None:
    client = device(step_us=60_000_000)
    client.prompt([1])
    real, held = client.stream.write, bytearray()
    client.stream.write = held.extend  # type: ignore[method-assign]
    run = client.generate(1000)
    client.stream.write = lambda data: real(bytes(held) + data)  # type: ignore[method-assign]
    info = Client(client.stream, patience=20).connect(resume=True)
    assert (info.state, info.running, info.run) == (DeviceState.RUNNING, run.request, run.request)


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
    client.active = run
    run.cancel()
    assert client.truncate(0) == 0


def test_a_new_host_takes_over_a_device_that_is_generating(device: Open) -> None:
    client = device(step_us=20_000)
    client.prompt([1])
    client.generate(100_000)
    newcomer = Client(client.stream, patience=20)
    newcomer.connect()
    assert newcomer.truncate(0) == 0
    newcomer.prompt([7])
    assert [token.id for token in newcomer.generate(2)] == [8, 9]


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
        ("SESSION", lambda c: (c.lengths.update({9: 0}), c.prompt([1], session=9))),
        ("TOKEN", lambda c: c.prompt([1, 300])),
        ("CONTEXT_FULL", lambda c: c.prompt([1] * 257)),
        ("ROWS", lambda c: next(c.generate(1))),
        ("ROWS", lambda c: next(c.score())),
        ("PARAMETER", lambda c: (c.prompt([1]), next(c.generate(1, unchecked(-1.0))))),
        ("PARAMETER", lambda c: (c.prompt([1]), next(c.generate(1, unchecked(float("nan")))))),
        ("POSITION", lambda c: (c.length(), c.lengths.update({0: 5}), c.prompt([1]))),
    ],
)
def test_bad_parameters_are_refused_by_name(device: Open, name: str, request_it: Callable[[Client], object]) -> None:
    client = device()
    with refused(name):
        request_it(client)
    client.lengths.clear()
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
        client.await_answer(9)
    assert client.ping() < 5


def test_a_message_without_a_request_id_is_refused_as_request_0(device: Open) -> None:
    client = device()
    ask(client, b"\1", Type.PING)
    client._open.add(0)
    with refused("MESSAGE"):
        client.await_answer(0)


def test_another_protocol_version_is_refused(device: Open) -> None:
    client = device()
    ask(client, messages.Ping.build({"request": 9, "value": 1}), Type.PING, version=3)
    with refused("PROTOCOL"):
        client.await_answer(9)


class Scripted:
    """A stream that answers with given bytes, whatever it is told; time passes where nothing waits to be read."""

    description = "the scripted line"

    def __init__(self, *answers: Callable[[bytes], bytes]) -> None:
        self.answers = answers
        self.waiting = b""
        self.now = 0.0

    def client(self, patience: float) -> Client:
        """A host whose clock is the stream's."""
        return Client(self, patience=patience, clock=lambda: self.now)

    def read(self, timeout: float) -> bytes:
        if not self.waiting:
            self.now += max(timeout, 1e-3)
        data, self.waiting = self.waiting, b""
        return data

    def write(self, data: bytes) -> None:
        self.waiting += b"".join(answer(data) for answer in self.answers)

    def close(self) -> None:
        pass


def hello_reply(version: int) -> Callable[[bytes], bytes]:
    def answer(data: bytes) -> bytes:
        frame = Decoder().feed(data)[0]
        assert isinstance(frame, Frame)
        hello = messages.Hello.parse(frame.payload)
        payload = bytearray(messages.HelloReply.sizeof())
        payload[:10] = messages.Hello.build(
            {"request": hello.request, "nonce": hello.nonce, "version_min": version, "version_max": version}
        )[:10]
        return encode(Frame(Type.HELLO_REPLY, bytes(payload), epoch=frame.epoch, version=version))

    return answer


def test_a_firmware_of_another_protocol_version_is_named() -> None:
    with pytest.raises(TargetError, match="speaks protocol 4 to 4, this host 2 to 2; update"):
        Scripted(hello_reply(4)).client(20).connect()


def test_a_wrong_device_shows_its_last_lines() -> None:
    with pytest.raises(TargetError, match=r"(?s)another program runs there.*login: root"):
        _connect_to(b"login: root\r\n")


def _connect_to(noise: bytes) -> None:
    stream = Scripted(lambda _: b"")
    stream.waiting = noise
    stream.client(0.3).connect(timeout=0.3)


def test_a_wrong_baud_rate_is_guessed_from_bytes_that_are_no_frames() -> None:
    with pytest.raises(TargetError, match="check the baud rate"):
        _connect_to(b"\xff\xfe\x80\0\x81\x9c\0")


def test_silence_says_what_to_check() -> None:
    with pytest.raises(TargetError, match="not one byte came; check that it is the right port"):
        _connect_to(b"")


def test_a_device_that_falls_silent_in_a_request_is_given_up() -> None:
    stream = Scripted(hello_reply(messages.VERSION_MAX))
    client = stream.client(0.3)
    client.connect()
    stream.answers = ()
    with pytest.raises(TargetError, match="silent for"):
        client.ping()


def test_a_dead_simulator_is_noticed_at_once(device: Open) -> None:
    client = device(step_us=10_000)
    client.prompt([1])
    run = client.generate(1000)
    next(run)
    stream = client.stream
    assert isinstance(stream, FakeDevice)
    client.patience = float("inf")
    stream.process.kill()
    with pytest.raises(TargetError, match="ended with -9"):
        run.finish()


def test_the_device_ends_when_its_line_is_closed(device: Open) -> None:
    stream = device(step_us=10_000).stream
    assert isinstance(stream, FakeDevice)
    assert stream.process.stdin is not None
    stream.process.stdin.close()
    assert stream.process.wait(120) == 0


@pytest.mark.parametrize("settings", [{"load_error": 12}, {"verify_error": 12}])
def test_without_a_model_the_device_says_why(device: Open, settings: dict[str, int]) -> None:
    lines: list[str] = []
    client = device(connect=False, **settings)
    client.console = lines.append
    info = client.connect()
    assert (info.state, info.error) == (DeviceState.NO_MODEL, 12)
    assert any("error 12: the model's memory plan does not fit" in line and "--context" in line for line in lines)
    with refused("ARENA_SMALL"):
        client.require_model()
    with refused("NOT_READY"):
        client.truncate(0)
    assert client.ping() < 5
    assert client.stats() is not None


def test_damaged_doubled_and_stale_frames_are_dropped_and_counted(device: Open) -> None:
    client = device()
    before = client.stats()
    ping = messages.Ping.build({"request": 9, "value": 1})
    ask(client, ping, Type.PING)
    client.connection.send_next -= 1
    ask(client, ping, Type.PING)
    before_next = client.connection.send_next
    wire = bytearray(encode(Frame(Type.PING, ping, epoch=client.connection.epoch, seq=client.connection.send_next)))
    client.stream.write(bytes(wire[: len(wire) // 2]) + b"\0")
    wire[10] ^= 4
    client.stream.write(bytes(wire))
    client.stream.write(encode(Frame(Type.PING, ping, epoch=client.connection.epoch ^ 1, seq=50)))
    client.stream.write(b"some typed text\r\n\0")
    client.stream.write(encode(Frame(Type.PING, ping, epoch=client.connection.epoch, seq=before_next + 3)))
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
    assert client.connection.lost or client.stats().frames_repeated


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


def test_a_trap_of_the_firmware_in_mid_stream_is_console_text(device: Open) -> None:
    lines: list[str] = []
    client = device()
    client.console = lines.append
    real = client.stream.read
    noise = [b"trap: cause 5\r\n"]
    client.stream.read = lambda timeout: real(timeout) + (noise.pop() if noise else b"")  # type: ignore[method-assign]
    client.prompt([1])
    assert [token.id for token in client.generate(3)] == [2, 3, 4]
    assert lines == ["trap: cause 5"]


def test_a_device_that_restarts_in_mid_answer_is_reported_as_that(device: Open) -> None:
    client = device(step_us=20_000)
    client.prompt([1])
    run = client.generate(1000)
    next(run)
    stream = client.stream
    assert isinstance(stream, FakeDevice)
    fresh = FakeDevice()
    stream.process, fresh.process = fresh.process, stream.process
    fresh.close()
    with pytest.raises(TargetError, match=r"(?s)restarted in the middle.*ready"):
        run.finish()


def test_a_prompt_longer_than_the_queue_is_evaluated_in_parts(device: Open) -> None:
    client = device()
    object.__setattr__(client.info, "pending_limit", 130)
    client.prompt([token % 300 for token in range(250)])
    run = client.generate(1)
    assert next(run).id == 250
    assert run.finish().evaluated <= 130


def test_ctrl_c_between_frames_cancels_on_the_device(device: Open) -> None:
    client = device(step_us=20_000)
    client.prompt([1])
    run = client.generate(100_000)
    next(run)
    client.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    done = client.cancel()
    assert done is not None
    assert done.reason == Reason.CANCELLED
    assert client.truncate(0) == 0


def test_console_text_is_a_line_of_its_own() -> None:
    assert Decoder().feed(b"one\r\ntwo\n") == [Text("one"), Text("two")]


def test_well_formed_frames_with_any_contents_do_not_harm_the_device(device: Open) -> None:
    client = device()
    client.prompt([1, 2, 3])
    client.generate(1).finish()
    rng = random.Random(4)
    sizes = {kind: message.head.sizeof() for kind, message in messages.MESSAGES.items()}
    for _ in range(1500):
        kind = rng.choice([*(each for each in sizes if each < 0x80), rng.randrange(256)])
        size = rng.choice([sizes.get(kind, 8), rng.randrange(513)])
        words = [
            rng.choice([0, 1, 2, 3, 5, 16, 124, 255, 0x7F800000, 0xFFFFFFFF, rng.getrandbits(32)]) for _ in range(128)
        ]
        ask(client, b"".join(word.to_bytes(4, "little") for word in words)[:size], kind)
        if kind == Type.HELLO and size >= 12:
            client.connection.send_next = 1
        client.stream.read(0)
    client.send_cancel(0)
    newcomer = Client(client.stream, patience=20)
    newcomer.connect()
    newcomer.truncate(0)
    newcomer.prompt([5])
    assert next(newcomer.generate(1)).id == 6


class Shell:
    """Another program: it has words for whatever it gets, and so is never silent."""

    description = "a shell"

    def __init__(self) -> None:
        self.said = b""
        self.now = 0.0

    def write(self, _data: bytes) -> None:
        self.said = b"sh: 1: not found\r\nlogin: "

    def read(self, timeout: float) -> bytes:
        said, self.said = self.said, b""
        if not said:
            self.now += timeout
        return said

    def close(self) -> None:
        pass


def test_a_shell_that_answers_every_hello_is_given_up() -> None:
    shell = Shell()
    with pytest.raises(TargetError, match=r"(?s)it sends text but no frames: another program.*sh: 1: not found"):
        Client(shell, patience=30, clock=lambda: shell.now).connect(timeout=0.6)
    assert shell.now < 5


def replace_process(client: Client) -> None:
    """What a reset does: another process on the same line."""
    stream = client.stream
    assert isinstance(stream, FakeDevice)
    fresh = FakeDevice(**stream.settings)
    stream.process, fresh.process = fresh.process, stream.process
    fresh.close()


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
    client.restore, client.console = True, lines.append
    client.prompt(range(100, 140), session=0)
    client.prompt([7], session=1)
    run = client.generate(60)
    got = [next(run).id for _ in range(20)]
    replace_process(client)
    got += [token.id for token in run]
    assert got == list(range(140, 200))
    assert run.done is not None
    assert (run.done.generated, run.done.length, run.done.reason) == (60, 100, Reason.LENGTH)
    assert any("sessions are restored" in line for line in lines)
    assert [token.id for token in client.generate(2, session=1)] == [8, 9]
    replace_process(client)
    assert client.prompt([5]) == 101
    assert [token.id for token in client.generate(1)] == [6]


def test_an_evaluation_goes_on_after_a_restart(device: Open) -> None:
    windows = [list(range(100, 140)), list(range(50, 80))]
    expected = evaluate(device(), windows)
    client = device(step_us=5_000)

    def restart(done: int, _total: int) -> None:
        if done in (10, 45):
            replace_process(client)

    client.restore = True
    assert evaluate(client, windows, progress=restart) == expected
    client.restore = False
    with pytest.raises(DeviceRestarted):
        evaluate(client, windows, progress=restart)


def test_a_stream_that_ended_is_opened_again(device: Open) -> None:
    client = device(step_us=2_000)
    client.restore = True
    client.reopen = lambda: device(connect=False).stream
    client.prompt([1])
    run = client.generate(50)
    next(run)
    stream = client.stream
    assert isinstance(stream, FakeDevice)
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


def test_the_engine_does_not_wait_for_a_host_that_does_not_listen(device: Open, tmp_path: Path) -> None:
    client = device(context=256, mark=tmp_path / "done", mark_at=250)
    client.prompt([1])
    run = client.generate(250)
    while not (tmp_path / "done").exists():
        time.sleep(0.01)
    newcomer = Client(client.stream, patience=20)
    info = newcomer.connect(resume=True)
    assert (info.state, info.run, info.run_tokens) == (DeviceState.READY, run.request, 250)


def test_hello_is_answered_while_the_image_is_checked(device: Open, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    client = device(connect=False, verify_hold=held)

    def end_the_check(item: Frame | Text | Damaged) -> None:
        if isinstance(item, Frame) and item.type == Type.HELLO_REPLY:
            assert messages.HelloReply.parse(item.payload).state == DeviceState.CHECKING or not held.exists()
            held.unlink(missing_ok=True)

    client.trace = end_the_check
    assert client.connect().state == DeviceState.READY
    assert not held.exists()


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
            asked.append(client._send(Type.UNLOAD, messages.Unload, answered=False))
        elif item.type in (Type.ERROR, Type.OK):
            refused.append(messages.Error.parse(item.payload).code if item.type == Type.ERROR else 0)
            held.unlink(missing_ok=True)

    client.trace = unload_then_end_the_check
    assert client.connect().state == DeviceState.READY
    assert refused == [67]
    client.prompt([1, 2])
    assert [token.id for token in client.generate(2)] == [3, 4]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_on_a_line_that_loses_doubles_and_changes_bytes(device: Open, seed: int) -> None:
    client = device()
    line = Lossy(client.stream, seed)
    client.stream = line
    for _ in range(2):
        client.truncate(0)
        client.prompt(range(100, 140))
        assert [token.id for token in client.generate(60)] == list(range(140, 200))
        assert [row.argmax for row in client.score()] == [200]
        client.truncate(0)
        client.prompt([1, 2, 3])
        assert [row.position for row in client.score(logits=True)] == [0, 1, 2]
    assert line.faults > 10


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


SLOW = 3
"""Times that the clocks of both ends are slowed down: a new rate is tried for half a second, which is short here."""


def slow_clock() -> float:
    return time.monotonic() / SLOW


@pytest.fixture
def rated(device: Open) -> Callable[..., Client]:
    def start(fastest: int = 3_000_000) -> Client:
        line = RatedLine(device(connect=False, baud=1, slow=SLOW).stream, fastest)
        client = Client(line, patience=20, clock=slow_clock)
        client.connect()
        return client

    return start


def test_the_device_offers_the_rates_that_its_clock_makes(rated: Callable[..., Client], device: Open) -> None:
    info = rated().info
    assert (info.uart_clock_hz, info.baud) == (24_000_000, 115200)
    assert info.bauds == (9600, 57600, 115200, 500000, 1500000)
    assert (device().info.baud, device().info.bauds) == (0, ())


def test_the_rate_is_changed_and_the_answer_goes_on(rated: Callable[..., Client]) -> None:
    client = rated()
    assert client.set_baud(1_500_000)
    client.prompt([1])
    assert [token.id for token in client.generate(5)] == [2, 3, 4, 5, 6]
    assert client.set_baud(115200)
    assert [token.id for token in client.generate(2)] == [7, 8]


def test_a_rate_at_which_nothing_comes_through_is_given_up(rated: Callable[..., Client]) -> None:
    client = rated(fastest=1_000_000)
    assert not client.set_baud(1_500_000)
    client.prompt([1])
    assert [token.id for token in client.generate(2)] == [2, 3]
    assert client.set_baud(500_000)


def test_a_rate_that_the_uart_cannot_make_is_refused(rated: Callable[..., Client], device: Open) -> None:
    client = rated()
    with refused("BAUD"):
        client.set_baud(921_600)
    with pytest.raises(UsageError, match="no rate that could be changed"):
        device().set_baud(115200)


def test_a_device_that_was_left_at_another_rate_is_found(rated: Callable[..., Client]) -> None:
    client = rated()
    assert client.set_baud(1_500_000)
    client.stream.set_baud(115200)  # type: ignore[attr-defined]
    newcomer = Client(client.stream, patience=20, clock=slow_clock)
    assert newcomer.connect().baud == 115200


def test_auto_takes_the_fastest_rate_that_works_and_leaves_it_at_the_end(rated: Callable[..., Client]) -> None:
    client = rated(fastest=1_000_000)
    line = client.stream
    assert isinstance(line, RatedLine)
    with line_rate(client, "auto"):
        assert line.baud == 500_000
        client.prompt([1])
        assert next(client.generate(1)).id == 2
    assert line.baud == 115200
    assert client.ping() < 5
    with pytest.raises(UsageError, match="neither a number nor auto"), line_rate(client, "fast"):
        pass
