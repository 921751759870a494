# SPDX-License-Identifier: Apache-2.0
"""Somebody with nothing but a terminal types a line and gets the answer that `host run` gives."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.link.client import Client
from host.link.records import SamplerParams
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout
from host.schema.wire.answers import Reason
from host.talk.conversation import Conversation
from host.talk.opening import open_model
from host.talk.text_session import TextSession
from host.targets import Target, open_target
from host.terminal import printable
from tests.support.hosted import native_program
from tests.support.lockstep import LockstepLine
from tests.support.texts import described, trained
from tests.support.tiny import tiny_image, tiny_llama

PROMPT = b"\r\n> "
ENDS_ITSELF = 7
"""Seed of a model whose first answer is 36 tokens long, the last one <|im_end|>."""
ENDS_OTHERWISE = 45
"""The same with 21 tokens, the last one <|endoftext|>."""
TALKS_ON = 1
QUESTION = "The quick brown fox"
NEXT = "And then? 12 café"
needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-riscv64"), reason="QEMU is not installed")


def make_image(path: Path, seed: int, context: int = 256, chat: bool = True, sessions: int = 2) -> Path:
    source = tiny_llama(seed, vocab_size=trained("smollm").get_vocab_size(), tie_word_embeddings=False)
    source.config["max_position_embeddings"] = 4096
    source.tokenizer = described("smollm") if chat else described("smollm", None)
    options = Options(weights=Q8, kv=Format.KV8, context=context, layout=Layout.SWAR, sessions=sessions)
    tiny_image(path, source, options)
    return path


class Person:
    """Types at a device and reads what it writes."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.seen = b""

    def await_words(self, words: bytes, seconds: float = 120) -> bytes:
        """What came up to and with the words since the last time."""
        end = time.monotonic() + seconds
        while words not in self.seen:
            assert time.monotonic() < end, f"{words!r} did not come; last bytes {self.seen[-300:]!r}"
            self.seen += self.target.read(0.5)
        found, _, self.seen = self.seen.partition(words)
        return found + words

    def type(self, keys: bytes) -> str:
        """Type a line that is not ended yet; returns what the device wrote behind its echo, up to its prompt."""
        self.target.write(keys + b"\r")
        _, _, answer = self.await_words(PROMPT).partition(b"\r\n")
        assert b"\0" not in answer
        return answer.removesuffix(PROMPT).decode().replace("\r\n", "\n")


@contextmanager
def person(spec: str, image: Path | None) -> Iterator[Person]:
    with open_target(spec, image) as target:
        one = Person(target)
        one.await_words(b"ready" if image else b"no model")
        one.await_words(b"\0\n" if image is None else b"\r\n")
        target.write(b"\r")
        one.await_words(PROMPT + PROMPT)
        yield one


def host_answers(image: Path, questions: list[str], max_tokens: int = 512) -> list[tuple[str, Reason]]:
    """What `host chat` shows, and why each answer ended."""
    found = []
    with open_model(str(image), "native") as model:
        conversation = Conversation(model, SamplerParams(), max_tokens)
        for question in questions:
            answer = conversation.ask(question)
            text = "".join(answer)
            conversation.answered(answer)
            found.append((printable(text), answer.done.reason))
    return found


@pytest.mark.parametrize("spec", ["native", pytest.param("qemu-virt:harts=1", marks=needs_qemu)])
def test_lines_are_answered_as_by_the_host(spec: str, tmp_path: Path) -> None:
    image = make_image(tmp_path / "tiny.hsp", ENDS_ITSELF, 128)
    (first, reason), (second, _) = host_answers(image, [QUESTION, NEXT])
    assert reason == Reason.STOP
    assert len(first) > 20
    with person(spec, image) as one:
        assert one.type(QUESTION.encode()) == first
        assert "36 written" in one.type(b"/stats")
        assert one.type(NEXT.encode()).removesuffix("\n[the context is full: /reset begins anew]") == second
        assert "forgotten" in one.type(b"/reset")
        assert one.type(QUESTION.encode()) == first


def test_an_answer_that_ended_otherwise_is_closed(tmp_path: Path) -> None:
    """The session then holds what the template says: no <|endoftext|>, but <|im_end|>."""
    image = make_image(tmp_path / "tiny.hsp", ENDS_OTHERWISE)
    assert host_answers(image, [QUESTION])[0][1] == Reason.STOP
    library = trained("smollm")
    with open_model(str(image), "native") as model:
        session = TextSession(model, SamplerParams(), 512)
        conversation = Conversation(model, SamplerParams(), 512)
        answer = conversation.ask(QUESTION)
        text = "".join(answer)
        model.client.truncate(model.client.length() - 1)
        ids = library.encode(f"<|im_end|>\n<|im_start|>user\n{NEXT}<|im_end|>\n<|im_start|>assistant\n").ids
        expected = "".join(session.complete(ids))
    with person("native", image) as one:
        assert one.type(QUESTION.encode()) == printable(text)
        assert one.type(NEXT.encode()).startswith(printable(expected))


def test_a_model_without_template_continues_the_line(tmp_path: Path) -> None:
    image = make_image(tmp_path / "tiny.hsp", TALKS_ON, 64, chat=False)
    with open_model(str(image), "native") as model:
        expected = printable("".join(TextSession(model, SamplerParams(), 512).complete_text(" 1 + 1 =")))
    with person("native", image) as one:
        for _ in range(2):
            assert one.type(b" 1 + 1 =").startswith(expected)


def test_keys_edit_the_line(tmp_path: Path) -> None:
    image = make_image(tmp_path / "tiny.hsp", ENDS_ITSELF)
    with person("native", image) as one:
        clean = one.type(QUESTION.encode())
        for keys in (
            b"The quicc\x7fk brown fox\xc3\xbc\x08",
            b"nonsense\x15The quick brown fox",
            b"\x7f\x7f  The quick\x1b[A\x1b[1;5C\x1bOP brown\tfox  ",
            b"nonsense\x03The quick brown fox",
        ):
            one.type(b"/reset")
            one.target.write(keys + b"\r\n")
            answer = one.await_words(f"{QUESTION}".encode()[-3:])
            while not answer.endswith(PROMPT):
                answer += one.await_words(PROMPT)
            assert answer.decode().replace("\r\n", "\n").endswith(clean + "\n> "), keys
        assert "unknown command" in one.type(b"/what")
        assert "/reset" in one.type(b"/help")
        assert "no text" in one.type(b"caf\xc3 au lait")
        assert "no text" in one.type(b"\x01\x02hello")
        assert one.type(b"x" * 1200)


def test_ctrl_c_ends_an_answer(tmp_path: Path) -> None:
    image = make_image(tmp_path / "tiny.hsp", TALKS_ON, 2048)
    with person("native", image) as one:
        one.target.write(QUESTION.encode() + b"\r")
        one.await_words(b"\r\n")
        one.target.write(b"\x03")
        assert one.await_words(PROMPT).endswith(b"[cancelled]" + PROMPT)
        one.target.write(QUESTION.encode() + b"\r\x03")
        one.await_words(PROMPT)
        assert one.type(b"/stats")


def test_a_host_takes_over_and_text_is_ignored_while_it_is_there(tmp_path: Path) -> None:
    image = make_image(tmp_path / "tiny.hsp", TALKS_ON, 2048)
    with person("native", image) as one:
        one.target.write(QUESTION.encode() + b"\r")
        one.await_words(b"\r\n")
        client = Client(one.target)
        client.connect()
        client.truncate(0)
        client.prompt([5, 6, 7])
        expected = [token.id for token in client.generate(20)]
        one.target.write(b"hello\r")
        client.truncate(0)
        client.prompt([5, 6, 7])
        assert [token.id for token in client.generate(20)] == expected


@pytest.mark.parametrize("sessions", [1, 2])
def test_a_host_whose_session_the_terminal_took_gets_no_other_tokens(sessions: int, tmp_path: Path) -> None:
    """It is told as of a restart, and restores its session; one with another session is not disturbed."""
    lines: list[str] = []
    line = LockstepLine(make_image(tmp_path / "tiny.hsp", ENDS_ITSELF, sessions=sessions))
    client = Client(line, lines.append, clock=line.now, restore=True)

    def wait(seconds: float) -> None:
        end = line.now() + seconds
        while line.now() < end:
            client.connection.read(1.0)

    def answer(typed: bytes) -> list[int]:
        client.truncate(0)
        client.prompt([5, 6, 7])
        first = [token.id for token in client.generate(4)]
        wait(15)
        line.write(typed)
        wait(5)
        return first + [token.id for token in client.generate(8)]

    try:
        client.connect()
        expected = answer(b"")
        assert answer(QUESTION.encode() + b"\r") == expected
        assert any(QUESTION in text for text in lines)
        assert any("sessions are restored" in text for text in lines) == (sessions == 1)
    finally:
        line.close()


def test_what_cannot_be_answered_is_told(tmp_path: Path) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    with person("native", image) as one:
        assert "no tables to tokenize with" in one.type(b"hello")
        assert "nothing was answered yet" in one.type(b"/stats")


@needs_qemu
def test_a_device_without_model_says_so() -> None:
    with open_target("qemu-virt:harts=1", None) as target:
        one = Person(target)
        one.await_words(b"no model")
        target.write(b"hello\r")
        one.await_words(b"no model is loaded")


def test_over_a_serial_line(tmp_path: Path) -> None:
    """A pty as a terminal program has it."""
    image = make_image(tmp_path / "tiny.hsp", ENDS_ITSELF)
    open_target("native", image).close()
    program = native_program()
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    expected = host_answers(image, [QUESTION])[0][0]
    try:
        with subprocess.Popen([program, "--image", image, "--tty", os.ttyname(theirs)]) as process:
            try:
                seen = b""
                while b"ready" not in seen:
                    seen += os.read(ours, 4096)
                os.write(ours, QUESTION.encode() + b"\r")
                while PROMPT not in seen.partition(QUESTION.encode())[2]:
                    seen += os.read(ours, 4096)
            finally:
                process.kill()
    finally:
        os.close(ours)
        os.close(theirs)
    answer = seen.partition(QUESTION.encode() + b"\r\n")[2].partition(PROMPT)[0]
    assert answer.decode().replace("\r\n", "\n") == expected
