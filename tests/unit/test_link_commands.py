# SPDX-License-Identifier: Apache-2.0
"""``host eval``, ``monitor`` and ``ports`` over a socket to the fake device, and words for what is on the wire.

The fake model's next token is the last one plus one, and the tiny tokenizer has one id a character in ASCII order: so
it goes on with the alphabet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from host import cli
from host.bench.evaluate import kl_divergence, text_windows
from host.compiler.compile import Options
from host.files.source import Tokenizer
from host.link.describe import describe
from host.link.frames import Damaged, Frame, Text
from host.schema.wire import answers
from host.schema.wire.constants import RELEASE
from host.schema.wire.header import Type
from host.terminal import printable
from tests.support.commands import HostCommand
from tests.support.serving import Serve, fake_servers
from tests.support.tiny import tiny_image, tiny_llama, tiny_tokenizer


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.hsp"
    tiny_image(path, tiny_llama(), Options(context=256))
    return path


@pytest.fixture
def serve(image: Path) -> Iterator[Serve]:
    with fake_servers(image) as start:
        yield start


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


def test_the_protocol_document_is_up_to_date() -> None:
    from tools import gen_protocol

    assert gen_protocol.main(["gen_protocol", "--check"]) == 0
