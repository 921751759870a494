# SPDX-License-Identifier: Apache-2.0
"""``host chat`` over a socket to the fake device: in a pipe, and on a terminal.

The fake model's next token is the last one plus one, and the tiny tokenizer has one id a character in ASCII order: so
it goes on with the alphabet.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.errors import DeviceFailure
from host.link.generation import Generation
from tests.support.commands import HostCommand, command
from tests.support.serving import Serve, fake_servers
from tests.support.tiny import tiny_image, tiny_llama


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(context=256))
    return path


@pytest.fixture
def serve(image: Path) -> Iterator[Serve]:
    with fake_servers(image) as start:
        yield start


def test_chat_without_a_template_is_refused_before_anything_starts(host: HostCommand, tmp_path: Path) -> None:
    source = tiny_llama()
    assert source.tokenizer is not None
    source.tokenizer.chat_template = None
    tiny_image(tmp_path / "plain.hsp", source)
    code, _, err = host("chat", tmp_path / "plain.hsp", "-t", "/dev/does-not-exist")
    assert code == 3
    assert "no chat template" in err


def test_a_stop_text_in_a_chat_is_no_part_of_the_conversation(
    host: HostCommand, serve: Serve, image: Path, tmp_path: Path
) -> None:
    log = tmp_path / "frames.txt"
    words = ("chat", image, "-t", serve(step_us=2000), "-q", "--stop", "$%", "--max-tokens", 9, "--log", log)
    code, out, _ = host(*words, typed="one\ntwo\n")
    assert (code, out) == (0, '!"#\n!"#\n')
    again = len('user: one\nassistant: !"#\nuser: two\nassistant: ')
    assert f"evaluated={again} " in [line for line in log.read_text().splitlines() if line.startswith("<DONE")][1]


def test_chat_in_a_pipe_answers_line_by_line(host: HostCommand, serve: Serve, image: Path) -> None:
    typed = (
        "hello\n\nand now\n/stats\n/params max_tokens=2 temperature=0.5\nshort\n/reset\nagain\n/help\n/quit\nnever\n"
    )
    code, out, err = host("chat", image, "-t", serve(), "-q", "--max-tokens", 4, typed=typed)
    lines = out.splitlines()
    assert code == 0
    assert lines[:2] == ['!"#$', '!"#$']
    assert "context" in lines[2]
    assert "damaged 0" in lines[3]
    assert "temperature=0.5" in out
    assert "max_tokens=2" in out
    assert out.count('!"\n') == 2
    assert "/reset " in out
    assert "the conversation is forgotten" in err
    assert "[cut off at max_tokens" in err


def test_chat_sends_only_what_is_new(host: HostCommand, serve: Serve, image: Path, tmp_path: Path) -> None:
    log = tmp_path / "frames.txt"
    host("chat", image, "-t", serve(), "-q", "--max-tokens", 3, "--log", log, typed="one\ntwo\n")
    evaluated = [line for line in log.read_text().splitlines() if line.startswith("<DONE")]
    first = len("user: one\nassistant: ")
    # The last token sampled was pending; it, the end of the answer's line and the question are new.
    assert f"evaluated={first} " in evaluated[0]
    assert f"evaluated={1 + len(chr(10) + 'user: two' + chr(10) + 'assistant: ')} " in evaluated[1]


def test_a_question_whose_answer_failed_is_taken_back(
    host: HostCommand, serve: Serve, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, failures = Generation._check, [DeviceFailure(65)]

    def fail_once(run: Generation, head: object) -> None:
        if failures:
            raise failures.pop()
        check(run, head)

    monkeypatch.setattr(Generation, "_check", fail_once)
    log = tmp_path / "frames.txt"
    code, out, err = host("chat", image, "-t", serve(), "-q", "--max-tokens", 3, "--log", log, typed="one\ntwo\n")
    assert code == 0
    assert "error 65" in err
    assert out.endswith('!"#\n')
    evaluated = [line for line in log.read_text().splitlines() if line.startswith("<DONE")]
    assert f"evaluated={len('user: two' + chr(10) + 'assistant: ')} " in evaluated[1]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("/bogus\n", "unknown command /bogus"),
        ("/rest\n", "unknown command /rest; did you mean /reset? /help lists them"),
        ("/params temprature=1\n", "did you mean temperature?"),
        ("/params colour=1\n", "unknown parameter colour; known are temperature"),
        ("/params top_k=0.5\n", "top_k is 0.5"),
        ("/params top_k\n", "is not NAME=NUMBER"),
        ("/params temperature=-1\n", "temperature is -1"),
        ("/params max_tokens=0\n", "max_tokens is 0"),
        ("/params max_tokens=4294967296\n", "max_tokens is 4294967296"),
        ("y" * 300 + "\n", "do not fit"),
    ],
)
def test_a_mistake_in_a_chat_does_not_end_it(
    host: HostCommand, serve: Serve, image: Path, typed: str, words: str
) -> None:
    code, out, err = host("chat", image, "-t", serve(), "-q", typed=typed + "/params temperature=0\nok\n")
    assert code == 0
    assert words in err
    assert '!"#' in out


def test_ctrl_c_at_the_prompt_of_a_pipe_leaves(serve: Serve, image: Path) -> None:
    with subprocess.Popen(
        command("chat", image, "-t", serve()), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hi\n/params\n")
        process.stdin.flush()
        while b"temperature" not in process.stdout.readline():
            pass
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.wait(120)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 130


def test_chat_on_a_terminal_edits_lines_and_shows_the_status(serve: Serve, image: Path, tmp_path: Path) -> None:
    words = command("chat", image, "-t", serve(), "-q", "--max-tokens", 4)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({"XDG_CACHE_HOME": str(tmp_path), "TERM": "xterm", "HOME": str(tmp_path)})
        os.execv(words[0], words)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 120
        while text not in seen:
            assert time.monotonic() < end, seen
            if select.select([terminal], [], [], 0.5)[0]:
                chunk = os.read(terminal, 4096)
                seen += chunk
                if b"\x1b[6n" in chunk:  # where is the cursor? A terminal would answer
                    os.write(terminal, b"\x1b[1;1R")

    try:
        until(b"context 0 of 256")
        os.write(terminal, b"hiX\x7f\r")
        until(b'!"#$')
        until(b"tokens/s, context")
        os.write(terminal, b"/quit\r")
        end = time.monotonic() + 120
        while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
            assert time.monotonic() < end, seen
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    seen += os.read(terminal, 4096)
                except OSError:
                    continue
        assert os.waitstatus_to_exitcode(ended[1]) == 0
    finally:
        os.close(terminal)
