# SPDX-License-Identifier: Apache-2.0
"""``host run`` and what all commands that talk to a device share, over a socket to the fake one.

The fake model's next token is the last one plus one, and the tiny tokenizer has one id a character in ASCII order: so
it goes on with the alphabet.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.image.reader import Image
from host.packing import resolve
from host.talk.answer import overlap
from tests.support.commands import HostCommand, command
from tests.support.serving import Serve, fake_servers
from tests.support.tiny import tiny_image, tiny_llama

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(context=256))
    return path


@pytest.fixture
def serve(image: Path) -> Iterator[Serve]:
    with fake_servers(image) as start:
        yield start


def test_run_prints_the_answer_and_the_boot_report_apart(host: HostCommand, serve: Serve, image: Path) -> None:
    code, out, err = host("run", image, "-t", serve(), "--raw", "-p", "abc", "--max-tokens", 5)
    assert (code, out) == (0, "defgh\n")
    assert "| hartspeak" in err
    assert "| image" in err


def test_run_puts_the_prompt_into_the_chat_template(
    host: HostCommand, serve: Serve, image: Path, tmp_path: Path
) -> None:
    log = tmp_path / "frames.txt"
    words = ("run", image, "-t", serve(), "-p", "hi", "--system", "be brief", "--max-tokens", 3, "-q", "--log", log)
    code, out, err = host(*words)
    assert (code, out, err) == (0, '!"#\n', "[stopped at --max-tokens 3; a larger one lets it go on]\n")
    text = log.read_text()
    assert "HELLO_REPLY" in text
    assert "DONE" in text
    prompt = "system: be brief\nuser: hi\nassistant: "
    assert f"value={len(prompt)}>" in text


def test_run_as_json_has_all_facts(host: HostCommand, serve: Serve, image: Path) -> None:
    code, out, err = host(
        "run", image, "-t", serve(), "--raw", "-p", "abc", "--max-tokens", 3, "--json", "--digest", "--stats"
    )
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["text"] == "def"
    assert [token["id"] for token in facts["tokens"]] == [71, 72, 73]
    assert all(token["digest"] for token in facts["tokens"])
    assert facts["reason"] == facts["done"]["reason"] == "length"
    assert facts["device"]["board"] == "fake"
    assert len(facts["stats"]["ops"]) == 20


@pytest.mark.parametrize(("stop", "expected"), [("g", "def"), ("fgh", "de"), ("zzz", "defghijk")])
def test_run_ends_at_a_stop_text_that_may_span_tokens(
    host: HostCommand, serve: Serve, image: Path, stop: str, expected: str
) -> None:
    code, out, _ = host("run", image, "-t", serve(), "--raw", "-p", "abc", "--max-tokens", 8, "--stop", stop)
    assert (code, out) == (0, f"{expected}\n")


def test_run_ends_at_the_images_stop_id(host: HostCommand, serve: Serve, image: Path) -> None:
    code, out, _ = host("run", image, "-t", serve(), "--raw", "-p", "}~", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["reason"] == "stop"
    assert facts["tokens"][-1]["id"] == 2


def test_a_prompt_longer_than_the_context_is_refused(host: HostCommand, serve: Serve, image: Path) -> None:
    code, _, err = host("run", image, "-t", serve(), "--raw", "-p", "x" * 300)
    assert code == 2
    assert "300 tokens do not fit: 0 of 256 positions are used" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--stop", ""), "stop text is empty"),
        (("--max-tokens", 1 << 32), "--max-tokens"),
        (("--temperature", "inf"), "temperature is inf"),
        (("--top-p", 0), "top_p is 0.0"),
        (("--log", "/dev/null/frames"), "cannot write /dev/null/frames"),
        (("--log", "/"), "cannot write /: Is a directory"),
    ],
)
def test_what_run_cannot_do_is_refused_with_words(
    host: HostCommand, serve: Serve, image: Path, words: tuple[object, ...], said: str
) -> None:
    code, out, err = host("run", image, "-t", serve(), "--raw", "-p", "abc", "-q", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_a_full_disk_is_told_in_words(serve: Serve, image: Path) -> None:
    """What cannot be foreseen by the commands: their output goes nowhere."""
    words = [sys.executable, "-m", "host", "run", str(image), "-t", serve(), "--raw", "-p", "abc", "--max-tokens", "3"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 1
    assert "error: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_all_that_was_written(host: HostCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in square brackets is markup, of which nothing remains."""
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("pack", "run", "chat", "eval", "monitor", "inspect", "boards", "ports"):
        code, out, _ = host(name, "--help")
        assert code == 0
        assert " ." not in out, out


def test_what_was_packed_is_used_until_the_model_or_the_image_format_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where a file in a folder is written again, which leaves the folder's own time alone."""
    monkeypatch.setattr(resolve, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(resolve, "pack_image", lambda _request, out: out.touch())
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    first = resolve.resolve_image(str(weights.parent), "native")
    assert resolve.resolve_image(str(weights.parent), "native") == first
    with weights.open("r+b") as file:
        file.write(b"another")
    assert resolve.resolve_image(str(weights.parent), "native") != first
    recipe = resolve.resolve_image("smollm2-135m-instruct", "native")
    monkeypatch.chdir(tmp_path)
    assert resolve.resolve_image("smollm2-135m-instruct", "native") == recipe
    monkeypatch.setattr(resolve, "VERSION_MAJOR", resolve.VERSION_MAJOR + 1)
    assert resolve.resolve_image("smollm2-135m-instruct", "native") != recipe


def test_another_image_on_the_device_is_refused(host: HostCommand, serve: Serve, image: Path) -> None:
    code, _, err = host("run", image, "-t", serve(root="00" * 32), "-p", "x")
    assert code == 6
    assert "the device runs image 00000000, but" in err


def test_a_device_without_model_says_why(host: HostCommand, serve: Serve, image: Path) -> None:
    code, _, err = host("run", image, "-t", serve(load_error=5), "-p", "x")
    assert code == 7
    assert "error 5 (IMAGE_HASH)" in err
    assert "copy or pack the image again" in err


def test_an_image_that_is_not_there_is_named(host: HostCommand, serve: Serve, tmp_path: Path) -> None:
    code, _, err = host("run", tmp_path / "absent\x1b]0;.hsp", "-t", serve(), "-p", "x")
    assert code == 4
    assert "absent\ufffd]0;.hsp: there is no such image; make it with: host pack" in err


def test_what_is_no_image_needs_a_board_to_be_packed_for(host: HostCommand, serve: Serve, tmp_path: Path) -> None:
    code, _, err = host("run", tmp_path / "absent.gguf", "-t", serve(), "-p", "x")
    assert code == 2
    assert "add --board" in err


def test_a_port_where_nobody_listens_is_named(host: HostCommand, image: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, _, err = host("run", image, "-t", f"socket://127.0.0.1:{port}", "-p", "x")
    assert code == 6
    assert str(port) in err


def test_a_models_control_characters_reach_a_pipe_but_no_terminal(
    host: HostCommand, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_llama()
    assert source.tokenizer is not None
    facts = json.loads(source.tokenizer.json)
    vocabulary = facts["model"]["vocab"]
    controls = "\x1b\x07\x9b\x7fü\t"
    for i, character in enumerate(controls):
        vocabulary[character] = vocabulary.pop(f"<extra{i}>")
    source.tokenizer.json = json.dumps(facts)
    tiny_image(tmp_path / "controls.hsp", source, Options(context=256))
    target = serve(root=Image(tmp_path / "controls.hsp").root)
    words = ("run", tmp_path / "controls.hsp", "-t", target, "--raw", "-p", "~", "--max-tokens", 7, "-q")
    assert host(*words)[:2] == (0, f"\n{controls}\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert host(*words)[:2] == (0, "\n\ufffd\ufffd\ufffd\ufffdü\t\n")


def test_the_beginning_of_a_stop_text_is_held_back() -> None:
    assert overlap("abcEN", ("END",)) == 2
    assert overlap("abc", ("END", "cd")) == 1
    assert overlap("abc", ()) == 0


def test_ctrl_c_ends_the_answer_and_the_program(serve: Serve, image: Path) -> None:
    target = serve(step_us=50_000)
    with subprocess.Popen(
        command("run", image, "-t", target, "--raw", "-p", "abc", "--max-tokens", 10000),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"d"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out.startswith(b"efg"[: len(out.strip())])
    assert b"Traceback" not in err


def test_a_device_that_sends_rubbish_is_reported_with_what_was_seen(host: HostCommand, image: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def rubbish() -> None:
        connection, _ = listener.accept()
        with connection:
            time.sleep(0.2)
            connection.sendall(b"\xff\xfe\x00" * 20)
            while connection.recv(100):
                pass

    thread = threading.Thread(target=rubbish, daemon=True)
    thread.start()
    code, _, err = host(
        "run", image, "-t", f"socket://127.0.0.1:{listener.getsockname()[1]}", "-p", "x", "--patience", 1
    )
    listener.close()
    assert code == 6
    assert "check the baud rate" in err
