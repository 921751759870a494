# SPDX-License-Identifier: Apache-2.0
"""A line that stays silent: what is waited for is told at once, for how long, and how to help."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable

import pytest

from host import cli, terminal
from host.errors import TargetError
from host.link.client import Client
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState
from host.targets.farm import FarmTarget
from host.targets.process import ProcessTarget
from host.targets.serial_line import SerialTarget
from host.targets.socket_line import SocketTarget
from host.terminal import MOST_LINES, Notices
from tests.support.liar import Liar, message

Told = list[tuple[str, float, str]]


class Silent(Liar):
    """A board that is off."""

    description = "/dev/ttyUSB0 at 115200"
    hint = SerialTarget.hint

    def write(self, data: bytes) -> None:
        pass


def told_of(line: Liar, use: Callable[[Client], object] = lambda _client: None) -> Told:
    """What is waited for until the line is given up or the use has ended."""
    told: Told = []
    client = Client(line, patience=20, clock=lambda: line.now)
    client.line.on_wait = lambda what, seconds, hint: told.append((what, seconds, hint))
    try:
        client.connect(10)
        use(client)
    except TargetError:
        pass
    return told


def test_a_silent_line_says_from_the_first_second_what_may_help() -> None:
    told = told_of(Silent())
    assert told[0][1] < 1
    assert {(what, hint) for what, _, hint in told} == {
        ("no answer on /dev/ttyUSB0 at 115200 yet", "press reset, or check the baud rate")
    }
    seconds = [seconds for _, seconds, _ in told]
    assert seconds == sorted(seconds)
    assert all(after - before < 1 for before, after in itertools.pairwise(seconds))
    assert seconds[-1] > 9


def test_each_kind_of_line_has_its_hint_and_what_was_started_here_needs_none() -> None:
    assert all("reset" in line.hint for line in (SerialTarget, SocketTarget, FarmTarget))
    assert not ProcessTarget.hint
    simulator = Silent()
    simulator.hint = ""
    assert {what for what, _, _ in told_of(simulator)} == {"/dev/ttyUSB0 at 115200 starts"}


def test_words_of_a_boot_loader_are_told_from_silence() -> None:
    line = Silent(noise=b"U-Boot 2026.01\r\n")
    assert {what for what, _, _ in told_of(line)} == {
        "another program speaks on /dev/ttyUSB0 at 115200, a boot loader perhaps"
    }
    assert {what for what, _, _ in told_of(Silent(noise=b"hartspeak 0.1.0 on fake\r\n"))} >= {
        "/dev/ttyUSB0 at 115200 starts"
    }


def test_an_image_that_is_checked_is_told() -> None:
    told = told_of(Liar(state=DeviceState.CHECKING))
    assert "the device checks the image's hashes" in {what for what, _, _ in told}


def test_a_prompt_that_is_read_is_told_until_the_first_token() -> None:
    def use(client: Client) -> object:
        client.prompt([1, 2])
        return client.generate(5).finish()

    told = [one for one in told_of(Liar({Type.GENERATE: lambda _asked: []}), use) if one[0] == "reading the prompt"]
    assert told[0][1] < 1 < 15 < told[-1][1]


def test_progress_does_not_begin_the_wait_anew() -> None:
    running: list[int] = []
    liar = Liar({Type.GENERATE: lambda asked: running.append(asked.request) or []})
    steps = iter(range(1, 200))

    def progress() -> list[tuple[Type, bytes]]:
        if not running or liar.now % 1 > 0.03:
            return []
        return [(Type.PROGRESS, message(Type.PROGRESS, request=running[-1], done=next(steps, 0), total=200))]

    liar.idle = progress

    def use(client: Client) -> object:
        client.prompt([1, 2])
        return client.generate(5).finish()

    seconds = [one[1] for one in told_of(liar, use) if one[0] == "reading the prompt"]
    assert seconds == sorted(seconds)


@pytest.fixture
def terminals(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    monkeypatch.setattr(terminal, "_wrapper", terminal.Wrapper())

    def are(real: bool) -> None:
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: real)

    return are


def test_a_terminal_shows_one_line_that_changes_and_goes(
    terminals: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminals(True)
    notices = Notices()
    notices.waiting("no answer on X yet", 0.5, "press reset")
    assert capsys.readouterr().err == ""
    notices.waiting("no answer on X yet", 1.2, "press reset")
    notices.waiting("no answer on X yet", 12.4, "press reset\n\x1b[2J")
    assert capsys.readouterr().err == (
        "\r\x1b[Kno answer on X yet, 1 s; press reset\r\x1b[Kno answer on X yet, 12 s; press reset\ufffd\ufffd[2J"
    )
    notices.line("hello")
    assert capsys.readouterr().err == "\r\x1b[K| hello\n"


def test_what_is_long_stays_in_one_line_of_a_terminal(
    terminals: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminals(True)
    Notices().waiting("x" * 500, 9)
    assert len(capsys.readouterr().err) < 100


def test_lines_of_the_device_break_between_words_on_a_terminal(
    terminals: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "image 9be9db45: 95.6 MiB, weights 93.7 MiB, vocabulary 49152, 30 layers, context 2048"
    for real in (True, False):
        terminals(real)
        Notices().line(text)
        lines = capsys.readouterr().err.splitlines()
        assert " ".join(map(str.strip, lines)) == f"| {text}"
        assert all(len(line) < 40 for line in lines) == real
        assert (len(lines) > 1) == real


def test_a_pipe_gets_a_plain_line_after_some_seconds_and_one_a_minute(
    terminals: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminals(False)
    notices = Notices()
    for tenth in range(1300):
        notices.waiting("no answer on X yet", tenth / 10, "press reset")
        notices.progress(tenth, 1300)
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r" \(.*?\)", "", line) for line in lines] == [
        "[no answer on X yet, 5 s; press reset]",
        "[no answer on X yet, 65 s; press reset]",
        "[no answer on X yet, 125 s; press reset]",
    ]
    for what in ("reading the prompt", "reading the prompt"):
        notices.waiting(what, 2)
        notices.waiting(what, 6)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_who_is_quiet_tells_nothing(terminals: Callable[[bool], None], capsys: pytest.CaptureFixture[str]) -> None:
    terminals(True)
    notices = Notices(quiet=True)
    notices.waiting("no answer", 50)
    notices.line("words")
    notices.progress(1, 2)
    assert capsys.readouterr().err == ""


def test_a_device_that_prints_without_end_does_not_flood_the_terminal(
    terminals: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminals(False)
    notices = Notices()
    for i in range(10 * MOST_LINES):
        notices.line(f"line {i}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MOST_LINES + 1
    assert "--log" in lines[-1]
    notices.answered()
    notices.line("again")
    assert capsys.readouterr().err == "| again\n"


def test_no_notice_is_written_into_a_line_of_the_answer(
    terminals: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminals(True)
    notices = Notices()
    terminal.say("half a line")
    notices.waiting("no answer on X yet", 3)
    captured = capsys.readouterr()
    assert captured.out == "half a line\n"
    assert "no answer" in captured.err


def fails(_words: list[str]) -> int:
    Notices().waiting("no answer on X yet", 50, "press reset")
    raise OSError(28, "No space left on device")


def test_an_error_begins_a_line_of_its_own(
    terminals: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminals(True)
    monkeypatch.setattr(cli, "_run", fails)
    with pytest.raises(SystemExit):
        cli.main()
    assert "press reset\r\x1b[Kerror: No space left" in capsys.readouterr().err


def waits(_words: list[str]) -> int:
    Notices().waiting("no answer on X yet", 50, "press reset")
    return 6


def test_after_ctrl_c_the_shell_begins_a_line_of_its_own(
    terminals: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminals(True)
    monkeypatch.setattr(cli, "_run", lambda words: waits(words) and 130)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
    assert capsys.readouterr().err.endswith("press reset\r\x1b[K")
