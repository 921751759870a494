# SPDX-License-Identifier: Apache-2.0
"""The commands that talk to a device, over a socket to the fake one: text, JSON, exit codes and messages.

The fake model's next token is the last one plus one, and the tiny tokenizer has one id a character in ASCII order: so
it goes on with the alphabet.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from host import cli
from host.bench.evaluate import kl_divergence, text_windows
from host.compiler.compile import Options
from host.errors import DeviceFailure
from host.files.source import Tokenizer
from host.image.reader import Image
from host.link.describe import describe
from host.link.frames import Damaged, Frame, Text
from host.link.generation import Generation
from host.packing import resolve
from host.schema.wire import answers
from host.schema.wire.constants import RELEASE
from host.schema.wire.header import Type
from host.talk.answer import overlap
from host.terminal import printable
from tests.support.commands import HostCommand
from tests.support.fake_device import FakeServer
from tests.support.tiny import tiny_image, tiny_llama, tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]

Serve = Callable[..., str]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(context=256))
    return path


@pytest.fixture
def serve(image: Path) -> Iterator[Serve]:
    servers: list[FakeServer] = []

    def start(**settings: object) -> str:
        servers.append(FakeServer(**{"root": Image(image).root, "vocab": 131, **settings}))
        return servers[-1].target

    yield start
    for server in servers:
        server.close()


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
    for command in ("pack", "run", "chat", "eval", "monitor", "inspect", "boards", "ports"):
        code, out, _ = host(command, "--help")
        assert code == 0
        assert " ." not in out, out


def test_what_was_packed_is_used_until_a_file_of_the_model_changes(
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


def test_eval_gives_the_perplexity_of_the_model(host: HostCommand, serve: Serve, image: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("abcdefgh" * 8)
    code, out, _ = host("eval", image, "-t", serve(), "--text", text, "--tokens", 40, "--window", 20, "--json")
    quality = json.loads(out)
    assert code == 0
    assert (quality["tokens"], quality["windows"]) == (38, 2)
    assert quality["perplexity"] == pytest.approx(np.exp(quality["nll"]))
    assert quality["kl_mean"] is None


def test_eval_against_the_same_model_finds_no_distance(
    host: HostCommand, serve: Serve, image: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog.")
    words = ("eval", image, "-t", serve(), "--reference", image, "--reference-target", serve(), "--text", text)
    code, out, _ = host(*words, "--json")
    quality = json.loads(out)
    assert code == 0
    assert quality["kl_max"] == 0
    assert quality["top1"] == 1
    assert quality["reference_perplexity"] == quality["perplexity"]
    code, out, _ = host(*words)
    assert "same top token        100.00%" in out


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot read"), (b"\xff\xfe\xff", "not UTF-8"), (b"a", "not even two tokens")]
)
def test_eval_refuses_a_text_it_cannot_use(
    host: HostCommand, serve: Serve, image: Path, tmp_path: Path, content: bytes | None, words: str
) -> None:
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    code, _, err = host("eval", image, "-t", serve(), "--text", text)
    assert code == 2
    assert words in err


def test_kl_divergence_of_known_distributions() -> None:
    p = np.log(np.array([0.5, 0.25, 0.25], dtype=np.float32))
    q = np.log(np.array([0.25, 0.5, 0.25], dtype=np.float32))
    assert kl_divergence(p + 7, p) == pytest.approx(0, abs=1e-7)
    assert kl_divergence(p, q) == pytest.approx(0.5 * np.log(2) - 0.25 * np.log(2), rel=1e-6)


def test_windows_start_with_bos_where_the_model_wants_it() -> None:
    plain = tiny_tokenizer()
    wants = Tokenizer(plain.json, plain.bos, plain.stop_ids, plain.chat_template, plain.special, add_bos=True)
    assert [len(window) for window in text_windows(plain, "x" * 25, 20, 8)] == [8, 8, 4]
    windows = text_windows(wants, "x" * 25, 20, 8)
    assert [len(window) for window in windows] == [8, 8, 7]
    assert all(window[0] == 1 and 1 not in window[1:] for window in windows)


def test_monitor_shows_text_and_frames_and_logs_bytes(host: HostCommand, serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "line.bin"
    port = serve(noise="U-Boot 2024\r\n")
    code, out, _ = host("monitor", port, "--seconds", 1.5, "--log", log)
    assert code == 0
    assert "U-Boot 2024" in out
    assert "<HELLO_REPLY 0000.0 ack 0" in out
    assert "board=fake" in out
    assert log.read_bytes().startswith(b"U-Boot 2024\r\n\r\nhartspeak")


def test_monitor_of_a_port_that_is_not_there_fails(host: HostCommand) -> None:
    code, _, err = host("monitor", "/dev/does-not-exist")
    assert code == 6
    assert "host ports" in err


def test_ports_lists_them_as_json(host: HostCommand) -> None:
    code, out, _ = host("ports", "--json")
    assert code == 0
    assert isinstance(json.loads(out), list)


def test_version_help_and_usage_errors(host: HostCommand) -> None:
    assert host("--version")[:2] == (0, f"{RELEASE}\n")
    assert host("--help")[0] == 0
    assert host("run")[0] == 2
    assert host("nonsense")[0] == 2


def test_the_release_is_the_distributions() -> None:
    text = (Path(cli.__file__).parents[1] / "pyproject.toml").read_text()
    assert f'version = "{RELEASE.split()[1]}"' in text


def test_items_in_words() -> None:
    assert describe(Text("login:")) == "login:"
    assert describe(Damaged(b"\xff\x01")) == "<damaged, 2 bytes: ff 01>"
    error = answers.Error.build({"request": 3, "code": 36, "type": 3, "detail": 9})
    assert "code=36 type=3 detail=9 (the session's context is full)>" in describe(Frame(Type.ERROR, error))
    assert describe(Frame(0x66, b"\x01\x02")).endswith(" 01 02>")
    assert "too short" in describe(Frame(Type.DONE, b"\x01"))


def test_what_steers_a_terminal_is_not_printed() -> None:
    assert printable("a\x1b[31m\r\nb\tü\x9b\x07") == "a\ufffd[31m\ufffd\nb\tü\ufffd\ufffd"


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


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "host", *map(str, words)]


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


def test_the_protocol_document_is_up_to_date() -> None:
    from tools import gen_protocol

    assert gen_protocol.main(["gen_protocol", "--check"]) == 0
