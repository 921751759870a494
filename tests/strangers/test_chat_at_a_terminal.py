# SPDX-License-Identifier: Apache-2.0
"""What a person meets in a chat: edges, typing ahead, Ctrl-C, a full context, /save, /retry, /system."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import re
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from host.command_line import chat_console, line_editor
from host.compiler.compile import Options
from host.errors import UsageError
from host.files.source import Tokenizer
from host.image.reader import Image
from host.talk.text_session import TextSession
from host.terminal import Wrapper
from tests.support.commands import HostCommand
from tests.support.serving import fake_servers
from tests.support.tiny import tiny_image, tiny_llama

CONTEXT = 128
EDITING = b"of 128"
"""In the status below the line that is edited."""


class Screen:
    """What a terminal of so many columns shows: it knows the three things that ``Wrapper`` uses."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[list[str]] = [[]]
        self.overflowed = False

    def write(self, text: str) -> None:
        while text:
            if text.startswith("\x1b["):
                at = next(i for i, c in enumerate(text) if c.isalpha())
                self._control(text[2:at], text[at])
                text = text[at + 1 :]
                continue
            self._put(text[0])
            text = text[1:]

    def _control(self, number: str, letter: str) -> None:
        if letter == "D":
            self.column = max(0, self.column - max(1, int(number or 1)))
        else:
            assert letter == "K"
            del self.rows[-1][self.column :]

    @property
    def column(self) -> int:
        return len(self.rows[-1]) if self._column is None else self._column

    @column.setter
    def column(self, value: int) -> None:
        self._column = value

    _column: int | None = None

    def _put(self, character: str) -> None:
        if character == "\n":
            self.rows.append([])
            self._column = None
            return
        columns = 8 - len(self.rows[-1]) % 8 if character == "\t" else get_cwidth(character)
        assert self._column is None or self._column == len(self.rows[-1])
        self._column = None
        self.rows[-1] += [character, *[""] * (columns - 1)] if columns else []
        self.overflowed |= len(self.rows[-1]) >= self.width

    @property
    def lines(self) -> list[str]:
        return ["".join(row) for row in self.rows]


def shown(text: str, width: int, seed: int = 0) -> Screen:
    """The text as it comes in pieces."""
    rng = random.Random(seed)
    wrapper, screen = Wrapper(), Screen(width)
    while text:
        size = rng.randint(1, 6)
        screen.write(wrapper.wrap(text[:size], width))
        text = text[size:]
    return screen


def test_a_word_that_does_not_fit_begins_the_next_line() -> None:
    assert shown("the quick brown fox jumps", 12).lines == ["the quick ", "brown fox ", "jumps"]
    assert shown("a-very-long-word", 10).lines == ["a-very-", "long-word"]
    assert shown("日本語日本語", 8).lines == ["日本語", "日本語"]
    assert shown("abcdefghijklmno", 8).lines == ["abcdefg", "hijklmn", "o"]
    assert shown("one\ntwo three", 8).lines == ["one", "two ", "three"]


@example("x" * 300, 3, 0)
@example("aaa\u0301a日", 3, 0)
@given(st.text(st.sampled_from("ab c\n-é日\u0301"), max_size=120), st.integers(3, 24), st.integers(0, 9))
def test_no_text_is_lost_broken_or_beyond_the_edge(text: str, width: int, seed: int) -> None:
    screen = shown(text, width, seed)
    assert not screen.overflowed
    letters = [c for c in text if get_cwidth(c) > 0 and c not in " \n"]
    assert [c for line in screen.lines for c in line if c not in " "] == letters
    if "\u0301" not in text and "日" not in text and "-" not in text:
        words = text.split()
        rows = [word for line in screen.lines for word in line.split()]
        assert [word for word in words if len(word) < width] == [
            word for word in words if len(word) < width and (word in rows or len(word) == width)
        ]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(context=CONTEXT))
    return path


@pytest.fixture
def serve(image: Path) -> Iterator[Callable[..., str]]:
    with fake_servers(image, context=CONTEXT) as start:
        yield start


def test_a_conversation_is_saved_and_nothing_foreign_is_replaced(
    host: HostCommand, serve: Callable[..., str], image: Path, tmp_path: Path
) -> None:
    text, facts, foreign = tmp_path / "talk.txt", tmp_path / "talk.json", tmp_path / "mine.txt"
    foreign.write_text("mine")
    files = (text, facts, facts, foreign, "/dev/null", "", tmp_path / "no" / "x")
    typed = "hi\n" + "".join(f"/save {file}\n" for file in files)
    code, _, err = host("chat", image, "-t", serve(), "-q", "--max-tokens", 3, typed=typed)
    assert code == 0
    assert json.loads(facts.read_text()) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": '!"#'},
    ]
    assert text.read_text() == f'{chat_console.HEADING}\n\n## user\n\nhi\n\n## assistant\n\n!"#\n'
    assert foreign.read_text() == "mine"
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    errors = [line for line in err.splitlines() if line.startswith("error")]
    assert len(errors) == 4
    assert "exists and is nothing that this command makes; move it away, or name another file" in errors[0]


def test_an_answer_is_made_again_from_where_it_began(
    host: HostCommand, serve: Callable[..., str], image: Path, tmp_path: Path
) -> None:
    log = tmp_path / "frames.txt"
    typed = "/retry\none\ntwo\n/retry\n/params temperature=1 seed=7\n/retry\n/params\n"
    typed += f"/save {tmp_path}/talk.json\n"
    code, out, err = host("chat", image, "-t", serve(), "-q", "--max-tokens", 3, "--log", log, typed=typed)
    assert code == 0
    assert "error: the same answer would come" in err
    assert out.count('!"#') == 3
    assert "seed=8" in out
    assert [one["content"] for one in json.loads((tmp_path / "talk.json").read_text())] == ["one", '!"#', "two", '!"#']
    ends = [line for line in log.read_text().splitlines() if line.startswith("<DONE")]
    evaluated = [int(line.split("evaluated=")[1].split()[0]) for line in ends]
    assert evaluated[2] == evaluated[1] - 1  # what had been sampled last before is evaluated by now


def test_nothing_was_asked_yet(host: HostCommand, serve: Callable[..., str], image: Path) -> None:
    code, _, err = host("chat", image, "-t", serve(), "-q", typed="/params temperature=1\n/retry\n")
    assert code == 0
    assert "error: nothing was asked yet" in err


def test_another_system_message_begins_anew(
    host: HostCommand, serve: Callable[..., str], image: Path, tmp_path: Path
) -> None:
    facts = tmp_path / "talk.json"
    typed = f"one\n/system be brief\ntwo\n/save {facts}\n/system\nthree\n/save {facts}\n"
    code, _, err = host("chat", image, "-t", serve(), "-q", "--max-tokens", 2, typed=typed)
    assert code == 0
    assert [one["role"] for one in json.loads(facts.read_text())] == ["user", "assistant"]
    assert "begins anew with this system message" in err
    assert "begins anew with no system message" in err


def test_a_system_message_that_the_template_refuses_changes_nothing(
    host: HostCommand, serve: Callable[..., str], tmp_path: Path
) -> None:
    source = tiny_llama()
    assert source.tokenizer is not None
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    source.tokenizer.chat_template = refuses + (source.tokenizer.chat_template or "")
    path = tmp_path / "refuses.hsp"
    tiny_image(path, source, Options(context=CONTEXT))
    target = serve(root=Image(path).root)
    code, out, err = host("chat", path, "-t", target, "-q", "--max-tokens", 2, typed="one\n/system be brief\ntwo\n")
    assert code == 0
    assert "no system role" in err
    assert out == '!"\n!"\n'


def test_help_lists_every_command(host: HostCommand, serve: Callable[..., str], image: Path) -> None:
    _, out, _ = host("chat", image, "-t", serve(), "-q", typed="/help\n")
    for command in ("/reset", "/retry", "/system", "/save", "/stats", "/params", "/help", "/quit"):
        assert f"\n{command} " in "\n" + out


def test_a_full_context_says_once_what_helps_and_its_numbers_agree(
    host: HostCommand, serve: Callable[..., str], image: Path
) -> None:
    code, out, err = host("chat", image, "-t", serve(), typed="hi\n/stats\nagain\n/reset\nhi\n")
    assert code == 0
    assert err.count("the context is full: 128 of 128 positions") == 2
    assert err.count("--overflow slide") == 2
    assert "/reset forgets all" in err
    assert "context 128 of 128 [context_full]" in out
    assert "do not fit: 128 of 128 positions are used" in err
    assert re.search(rf"context +{CONTEXT} positions", host("inspect", image)[1])
    assert "129 of" not in out + err


def test_a_full_context_of_one_answer_is_told(host: HostCommand, serve: Callable[..., str], image: Path) -> None:
    _, _, err = host("run", image, "-t", serve(), "--raw", "-p", "a" * 120, "-q")
    assert "[the context is full: 128 of 128 positions; for more pack the image with a longer --context" in err


def test_an_answer_that_is_cut_off_says_so(host: HostCommand, serve: Callable[..., str], image: Path) -> None:
    _, out, err = host("run", image, "-t", serve(), "--raw", "-p", "abc", "--max-tokens", 5, "-q")
    assert (out, err) == ("defgh\n", "[stopped at --max-tokens 5; a larger one lets it go on]\n")
    _, out, err = host("run", image, "-t", serve(), "--raw", "-p", "abc", "--max-tokens", 5, "--json")
    assert json.loads(out)["reason"] == "length"
    assert err == ""


def test_an_empty_prompt_without_a_start_token_is_a_matter_of_usage() -> None:
    class Nothing:
        tokenizer = Tokenizer("{}", None, (), None)

    session = TextSession.__new__(TextSession)
    session.model = Nothing()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="start token"):
        session.complete_text("")


def test_the_history_is_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "cache"))
    path = line_editor.history_file()
    path.write_text("secret")
    path.chmod(0o644)
    assert line_editor.history_file() == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text() == "secret"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        line_editor.history_file()


class Terminal:
    """A chat on a terminal of its own."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"HARTSPEAK_CACHE": str(folder / "cache"), "TERM": "xterm", "HOME": str(folder)})
            os.execv(words[0], words)

    def look(self, seconds: float) -> None:
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                return
            self.seen += chunk
            if b"\x1b[6n" in chunk:  # where is the cursor? A terminal would answer
                os.write(self.fd, b"\x1b[1;1R")

    def until(self, text: bytes) -> bytes:
        """What came up to this text, which is then forgotten."""
        end = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            self.look(0.5)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def ended(self) -> int:
        end = time.monotonic() + 60
        while (found := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            assert time.monotonic() < end, self.seen
            self.look(0.2)
        return os.waitstatus_to_exitcode(found[1])


def test_typing_ahead_waits_and_ctrl_c_warns_first(serve: Callable[..., str], image: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "host", "chat", str(image), "-t", serve(step_us=150_000), "-q", "--max-tokens", "8"]
    terminal = Terminal(words, tmp_path)
    try:
        terminal.until(b"context 0 of 128")
        terminal.type(b"hi\r")
        terminal.until(b'!"')
        terminal.type(b"early")
        assert b"early" not in terminal.until(b"'(")
        terminal.until(b"early")
        terminal.until(EDITING)
        terminal.type(b"\x03")  # drops the line
        terminal.until(EDITING)
        terminal.type(b"\x03")
        terminal.until(line_editor.LEAVING.encode())
        terminal.until(EDITING)
        terminal.type(b"/help\r")
        terminal.until(b"/quit ")
        terminal.until(EDITING)
        terminal.type(b"\x03")
        terminal.until(line_editor.LEAVING.encode())
        terminal.type(b"\x03")  # at once: the editor starts or has started
        assert terminal.ended() == 0
        assert b"File" not in terminal.seen
    finally:
        os.close(terminal.fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(terminal.pid, signal.SIGKILL)


def test_what_is_typed_while_the_device_starts_waits_for_the_prompt(image: Path, tmp_path: Path) -> None:
    """Nothing shows before the editor does: the line is silent until then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"socket://127.0.0.1:{server.getsockname()[1]}"
        terminal = Terminal(
            [sys.executable, "-m", "host", "chat", str(image), "-t", target, "--patience", "4"], tmp_path
        )
        try:
            terminal.until(b"no answer on")
            terminal.type(b"early\r")
            shown = terminal.until(b"error: no answer from")
            assert b"early" not in shown
            assert shown.endswith(b"\r\x1b[K")
            assert terminal.ended() == 6
        finally:
            os.close(terminal.fd)
            with contextlib.suppress(ProcessLookupError):
                os.kill(terminal.pid, signal.SIGKILL)
