# SPDX-License-Identifier: Apache-2.0
"""Exit codes as documented, for every command and every kind of bad argument.

A row is a command with one thing wrong; nothing is started. No row may give 1, which is for what nobody foresaw.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from host import cli
from host.command_line.listing import command_lines
from tests.support.model_files import write_folder, write_gguf
from tests.support.tiny import tiny_image, tiny_llama

Host = Callable[..., tuple[int, str]]
USAGE, SOURCE, IMAGE, TARGET = 2, 3, 4, 6


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Host:
    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["host", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return int(ended.value.code or 0), shown.err

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each: a good image, what is none, a model, a text."""
    folder = tmp_path_factory.mktemp("place")
    tiny_image(folder / "good.hsp", tiny_llama())
    good = (folder / "good.hsp").read_bytes()
    write_folder(tiny_llama(), folder / "model")
    gguf = write_gguf(tiny_llama(head_dim=32, num_attention_heads=3, num_key_value_heads=1), folder / "m.gguf", "Q4_0")
    (folder / "folder.hsp").mkdir()
    for name, data in (
        ("empty.hsp", b""),
        ("short.hsp", good[:3000]),
        ("cut.hsp", good[:9000]),
        ("gguf.hsp", gguf.read_bytes()),
        ("text.hsp", b"hello"),
        ("bytes.txt", b"a\xff"),
        ("empty.txt", b" \n"),
        ("text.txt", b"a few words"),
        ("cut.gguf", gguf.read_bytes()[:50]),
    ):
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.hsp")
    (folder / "loop.hsp").symlink_to(folder / "loop.hsp")
    return folder


BAD_IMAGES = {
    "absent.hsp": "there is no such image; make it with: host pack",
    "folder.hsp": "is a directory",
    "empty.hsp": "it is empty",
    "short.hsp": "truncated",
    "cut.hsp": "truncated",
    "gguf.hsp": "a GGUF",
    "text.hsp": "no model image",
    "pipe.hsp": "no regular file",
    "loop.hsp": "symbolic links",
    "good.hsp/x.hsp": "Not a directory",
    "x" * 300 + ".hsp": "name too long",
}
IMAGE_COMMANDS = {
    "inspect": ["inspect", "IMAGE"],
    "load": ["load", "IMAGE", "-t", "/dev/absent"],
    "run": ["run", "IMAGE", "-p", "a"],
    "chat": ["chat", "IMAGE"],
    "bench": ["bench", "IMAGE"],
    "eval": ["eval", "IMAGE", "--text", "text.txt"],
    "embed": ["embed", "IMAGE", "--text", "a"],
    "classify": ["classify", "IMAGE", "--text", "a"],
    "resume": ["resume", "IMAGE", "-t", "native"],
    "flash": ["flash", "IMAGE", "--medium", "disk"],
    "verify": ["verify", "IMAGE", "--key", "absent"],
    "sign": ["sign", "IMAGE", "--key", "absent"],
}


@pytest.mark.parametrize("command", IMAGE_COMMANDS)
def test_an_image_that_cannot_be_read_is_4(
    command: str, host: Host, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: where the key is absent, too, the image is not taken for good."""
    monkeypatch.chdir(place)
    for name, words in BAD_IMAGES.items():
        code, said = host(*(name if word == "IMAGE" else word for word in IMAGE_COMMANDS[command]))
        if command in ("verify", "sign") and code == USAGE:
            continue  # the key was looked at first
        assert code == IMAGE, (name, said)
        assert words.lower() in said.lower(), name


def test_an_image_without_permission_is_4(host: Host, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a file that even root cannot read, and by one that open() refuses."""
    if Path("/proc/self/mem").exists():
        code, said = host("inspect", "/proc/self/mem")
        assert (code, "no model image" in said or "cannot read" in said) == (IMAGE, True)

    opened = os.open

    def refuse(path: object, *options: int, **named: int) -> int:
        if path == place / "good.hsp":
            raise PermissionError(13, "Permission denied")
        return opened(path, *options, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    code, said = host("inspect", place / "good.hsp")
    assert (code, "Permission denied" in said) == (IMAGE, True)


ROWS: list[tuple[int, str, list[str]]] = [
    (SOURCE, "does not exist", ["pack", "absent", "--board", "native"]),
    (SOURCE, "truncated", ["pack", "cut.gguf", "--board", "native"]),
    (SOURCE, "no model file", ["pack", "text.txt", "--board", "native"]),
    (SOURCE, "too long", ["pack", "x" * 300, "--board", "native"]),
    (SOURCE, "too long", ["run", "x" * 300, "-p", "a"]),
    (SOURCE, "does not exist", ["run", "absent", "-p", "a"]),
    (SOURCE, "no model file", ["eval", "text.txt", "--text", "text.txt"]),
    (USAGE, "no board 'nativ'; did you mean native?", ["pack", "model", "--board", "nativ"]),
    (USAGE, "Missing option", ["pack", "model"]),
    (USAGE, "is a directory", ["pack", "model", "--board", "native", "-o", "folder.hsp"]),
    (USAGE, "absent", ["pack", "model", "--board", "native", "-o", "absent/x.hsp"]),
    (USAGE, "did you mean q4?", ["pack", "model", "--board", "native", "--weights", "Q4"]),
    (USAGE, "did you mean int8?", ["pack", "model", "--board", "native", "--kv", "int4"]),
    (USAGE, "did you mean slide?", ["pack", "model", "--board", "native", "--overflow", "slid"]),
    (USAGE, "outside", ["pack", "model", "--board", "native", "--context", "-3"]),
    (USAGE, "outside", ["pack", "model", "--board", "native", "--sessions", "0"]),
    (USAGE, "outside", ["pack", "model", "--board", "native", "--rows", "100000"]),
    (USAGE, "integer", ["pack", "model", "--board", "native", "--context", "x"]),
    (USAGE, "add --json", ["run", "good.hsp", "-p", "a", "--digest"]),
    (USAGE, "Missing option", ["run", "good.hsp"]),
    (USAGE, "no board 'nope'", ["run", "good.hsp", "-p", "a", "--board", "nope"]),
    (USAGE, "--max-tokens", ["run", "good.hsp", "-p", "a", "--max-tokens", "0"]),
    (USAGE, "--temperature", ["run", "good.hsp", "-p", "a", "--temperature", "nan"]),
    (USAGE, "unexpected", ["run", "good.hsp", "-p", "a", "b"]),
    (USAGE, "no text", ["embed", "good.hsp"]),
    (USAGE, "not UTF-8", ["classify", "good.hsp", "--file", "bytes.txt"]),
    (USAGE, "No such option", ["families", "--all"]),
    (USAGE, "No such file", ["eval", "good.hsp", "--text", "absent"]),
    (USAGE, "directory", ["eval", "good.hsp", "--text", "."]),
    (USAGE, "not UTF-8", ["eval", "good.hsp", "--text", "bytes.txt"]),
    (USAGE, "is empty", ["eval", "good.hsp", "--text", "empty.txt"]),
    (USAGE, "Input/output", ["eval", "good.hsp", "--text", "/proc/self/mem"]),
    (USAGE, "a picture is one of", ["bench", "good.hsp", "--plot", "x.txt"]),
    (USAGE, "--prompt", ["bench", "good.hsp", "-p", "0"]),
    (USAGE, "no board", ["boards", "../spike"]),
    (USAGE, "did you mean gpt2?", ["models", "gpt-2"]),
    (SOURCE, "cannot read", ["models", "absent.toml"]),
    (USAGE, "is not in the cache", ["cache", "../x", "--prune", "--yes"]),
    (USAGE, "did you mean spike?", ["build", "spiek"]),
    (USAGE, "did you mean size?", ["build", "spike", "sizes"]),
    (USAGE, "unexpected", ["ports", "x"]),
    (USAGE, "no such file", ["symbolize", "absent"]),
    (USAGE, "not an ELF", ["symbolize", "text.txt"]),
    (USAGE, "cannot read", ["symbolize", "/proc/self/mem"]),
    (USAGE, "cannot write", ["monitor", "/dev/null", "--log", "."]),
    (USAGE, "--baud", ["monitor", "/dev/null", "--baud", "0"]),
    (USAGE, "cannot read", ["session", "restore", "absent", "-t", "/dev/absent"]),
    (USAGE, "cannot read", ["session", "restore", ".", "-t", "/dev/absent"]),
    (USAGE, "no session file", ["session", "restore", "text.txt", "-t", "/dev/absent"]),
    (USAGE, "No such command", ["session", "restor"]),
    (USAGE, "", ["session"]),
    (USAGE, "cannot read key", ["verify", "good.hsp", "--key", "absent"]),
    (USAGE, "no public key", ["verify", "good.hsp", "--key", "text.txt"]),
    (USAGE, "cannot read key", ["sign", "good.hsp", "--key", "absent"]),
    (USAGE, "no private key", ["sign", "good.hsp", "--key", "text.txt"]),
    (USAGE, "there already", ["keygen", "text.txt"]),
    (USAGE, "absent", ["keygen", "absent/key"]),
    (USAGE, "", ["flash", "good.hsp"]),
    (USAGE, "no board", ["flash", "good.hsp", "--board", "nope", "--medium", "disk"]),
    (USAGE, "no medium", ["flash", "good.hsp", "--board", "native", "--medium", "disk"]),
    (USAGE, "is not a size", ["flash", "good.hsp", "--medium", "disk", "--slot", "x"]),
    (USAGE, "No such command 'inspct'. Did you mean 'inspect'?", ["inspct"]),
    (USAGE, "No such option", ["--nope"]),
    (USAGE, "", []),
    (TARGET, "did you mean native?", ["run", "good.hsp", "-p", "a", "-t", "nativ"]),
    (TARGET, "cannot be opened", ["run", "good.hsp", "-p", "a", "-t", "/dev/absent"]),
    (TARGET, "cannot be opened", ["chat", "good.hsp", "-t", "socket://127.0.0.1:1"]),
    (TARGET, "needs host and port", ["bench", "good.hsp", "-t", "socket://x"]),
    (TARGET, "nothing here simulates", ["eval", "good.hsp", "--text", "text.txt", "-t", "bpi-f3"]),
    (TARGET, "no target", ["resume", "good.hsp", "-t", "nope"]),
    (TARGET, "cannot be opened", ["load", "good.hsp", "-t", "/dev/absent"]),
    (TARGET, "cannot be opened", ["monitor", "/dev/absent"]),
    (TARGET, "no target", ["session", "save", "s", "-t", "nope"]),
    (TARGET, "cannot be opened", ["flash", "good.hsp", "--port", "/dev/absent"]),
]


@pytest.mark.parametrize(
    ("code", "words", "line"), ROWS, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
def test_what_is_wrong_decides_the_code(
    code: int, words: str, line: list[str], host: Host, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ended, said = host(*line)
    assert ended == code, said
    assert words in said


def test_every_command_has_rows() -> None:
    rows = [line[0] for _, _, line in ROWS if line] + list(IMAGE_COMMANDS)
    assert set(command_lines()) <= set(rows)


def test_a_question_that_nobody_answers_is_usage_and_an_interrupted_one_130(
    host: Host, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(error: type[BaseException]) -> Callable[..., str]:
        def ask(*_: object, **__: object) -> str:
            try:
                raise error
            except (EOFError, KeyboardInterrupt):
                raise typer.Abort from None

        return ask

    for error, code in ((EOFError, USAGE), (KeyboardInterrupt, 130)):
        monkeypatch.setattr(typer, "prompt", ended(error))
        assert host("keygen", place / "new", "--passphrase")[0] == code
    assert not (place / "new").exists()
