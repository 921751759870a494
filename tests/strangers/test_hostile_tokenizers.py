# SPDX-License-Identifier: Apache-2.0
"""Tokenizers: replacements that grow, patterns that backtrack, depth, panics, sizes; from folders and images."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from host.errors import ImageError, SourceError, UsageError
from host.files.source import Tokenizer
from host.image import writer
from host.image.reader import Image
from host.tokens.chat_template import ChatFormatter, encode_prompt
from host.tokens.sandbox import SANDBOX, WORKER, Sandbox, SandboxError
from host.tokens.tokenizer import MAX_TEXT, Codec, codec_of, load_tokenizer, parse
from tests.support.device_tokenizer import image_source
from tests.support.texts import described, trained
from tests.support.tiny import tiny_image

LONG = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


def grown(count: int, by: int) -> dict[str, Any]:
    steps = [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * by} for _ in range(count)]
    return {"type": "Sequence", "normalizers": steps}


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def changed(**parts: Any) -> str:
    return json.dumps(json.loads(trained("gpt2").to_str()) | parts)


HOSTILE = {
    "replacements": changed(normalizer=grown(5, 1000)),
    "backtracking": changed(pre_tokenizer=split("(a|aa|aaa)+b")),
    "backtracking normalizer": changed(
        normalizer={"type": "Replace", "pattern": {"Regex": "^(([a-z])+.)+[A-Z]([a-z])+$"}, "content": ""}
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_that_a_tokenizer_cannot_stand_end_in_a_line(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        Codec(HOSTILE[name]).encode(LONG)
    assert "\n" not in str(caught.value)
    assert codec_of(described("gpt2")).encode("the")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"normalizer":' + '{"type":"Sequence","normalizers":[' * 100_000 + "]}" * 100_000 + "}", "recursion"),
        ("[" * 200_000, "invalid type"),
        (changed(pre_tokenizer=split("(")), "read"),
        (changed(post_processor={"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": 5}), "read"),
        (changed(model={"type": "BPE", "vocab": {"a": 1 << 32}, "merges": []}), "read"),
        ("\x00", "read"),
        ("", "read"),
    ],
)
def test_files_that_are_none_are_refused(text: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        parse(text, "tokenizer.json")


def test_a_panic_of_the_library_is_an_error() -> None:
    """Python sees it as an exception that is no Exception."""
    with pytest.raises(SourceError, match="out of range"):
        Codec(changed(model={"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}))


def test_padding_of_two_thousand_million_is_off() -> None:
    pad = {"strategy": {"Fixed": 2_000_000_000}, "direction": "Right", "pad_to_multiple_of": None}
    pad |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
    assert Codec(changed(padding=pad)).encode("the") == codec_of(described("gpt2")).encode("the")


def test_a_folder_ends_in_the_sources_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(HOSTILE["replacements"])
    tokenizer = load_tokenizer(tmp_path, {})
    assert tokenizer is not None
    with pytest.raises(SourceError) as caught:
        encode_prompt(tokenizer, LONG)
    assert caught.value.exit_code == 3


def test_a_long_text_does_no_harm_and_one_beyond_any_context_is_a_usage_error() -> None:
    codec = Codec(json.dumps(json.loads(trained("gpt2").to_str()) | {"normalizer": None}))
    assert len(codec.encode("\x01" * 2_000_000)) == 2_000_000
    with pytest.raises(UsageError, match="4194305"):
        codec.encode("a" * (MAX_TEXT + 1))


def test_texts_that_are_no_unicode_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        codec_of(described("gpt2")).encode("a\udcff")


# ---- images ----


def image_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: Any) -> Path:
    """An image whose tokenizer section is these bytes, or the usual facts with these changed."""
    source = image_source(described("gpt2"))
    made = writer.tokenizer_section(source.tokenizer)
    if isinstance(section, dict):
        section = zlib.compress(json.dumps(json.loads(zlib.decompress(made)) | section).encode())
    with monkeypatch.context() as patched:
        patched.setattr(writer, "tokenizer_section", lambda _: section)
        patched.setattr(writer, "_made", [])  # the sections that it keeps are not these
        tiny_image(tmp_path / "bad.hsp", source)
    return tmp_path / "bad.hsp"


@pytest.mark.parametrize(
    "section",
    [
        zlib.compress(b"[1]"),
        zlib.compress(b'{"tokenizer.json":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
        b"\x78\x9c" + bytes(range(100)),
        b"",
        *({"stop_ids": value} for value in (["a", None], 5, [1 << 40], [-1], [True], list(range(9)), "ab")),
        *({"bos": value} for value in ("x", -1, 1 << 32, [1], True)),
        *({"special": value} for value in ([1], {"bos_token": 5}, "x", {"a": "\ud800"})),
        *({"tokenizer.json": value} for value in (5, None, "\ud800")),
        *({"prefix": value} for value in ("ab", [-1], list(range(99)), None)),
        *({"ranks": value} for value in ("ab", [-1], [1.5])),
        {"add_bos": 1},
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_section_of_something_else_is_a_damaged_image(
    section: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="damaged") as caught:
        _ = Image(image_of(tmp_path, monkeypatch, section)).tokenizer
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("text", ["{}", "", HOSTILE["replacements"], HOSTILE["backtracking"]])
def test_an_images_tokenizer_ends_in_the_images_error(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Image(image_of(tmp_path, monkeypatch, {"tokenizer.json": text})).tokenizer
    with pytest.raises(ImageError):
        encode_prompt(tokenizer, LONG)


def test_ranks_that_do_not_fit_the_vocabulary_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Image(image_of(tmp_path, monkeypatch, {"ranks": [1]})).tokenizer
    with pytest.raises(ImageError):
        ChatFormatter(tokenizer).turn([{"role": "user", "content": "hi"}])


# ---- the child ----


def test_the_child_is_limited() -> None:
    if sys.platform != "linux":
        pytest.skip("/proc shows the limits on Linux only")
    codec_of(described("gpt2")).encode("a")
    process = SANDBOX._process
    assert process is not None
    limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    found = {line[:26].strip(): line[26:47].strip() for line in limits}
    assert found["Max core file size"] == found["Max file size"] == "0"
    assert int(found["Max cpu time"]) < 60
    assert int(found["Max address space"]) < 1 << 30
    assert os.getpgid(process.pid) != os.getpgid(0)


def test_the_child_ends_with_its_parent() -> None:
    program = (
        "from host.tokens.sandbox import SANDBOX, SandboxError\n"
        "try: SANDBOX.request('ids', key='x', tokens=['a'])\n"
        "except SandboxError: print(SANDBOX._process.pid, flush=True)\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    child = int(done.stdout)
    for _ in range(200):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if b"State:\tZ" in Path(f"/proc/{child}/status").read_bytes():
            return
        subprocess.run(["sleep", "0.02"], check=True)
    pytest.fail("the child outlives its parent")


def test_what_a_request_makes_is_limited() -> None:
    codec = codec_of(described("gpt2"))
    with pytest.raises(SandboxError, match="0 MiB"):
        codec._loaded.ask("decode", limit=100, lists=[codec.encode(LONG * 20)], skip=False)
    assert codec.encode("the")


def test_a_child_that_answers_nonsense_or_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for program, words in (
        ("import sys; sys.stdout.write('\\x05\\0\\0\\0nooo!'); sys.stdout.flush(); input()", "nonsense"),
        ("import os; os.kill(os.getpid(), 11)", "too deep"),
        ("raise SystemExit(3)", "ended with 3"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\xff\\xff\\x7f'); sys.stdout.flush(); input()", "MiB of text"),
    ):
        worker = tmp_path / "worker.py"
        worker.write_text(program)
        monkeypatch.setattr("host.tokens.sandbox.WORKER", worker)
        sandbox = Sandbox()
        with pytest.raises(SandboxError, match=words):
            sandbox.request("ids", key="x", tokens=["a" * 100_000])
        sandbox.close()


def test_the_worker_imports_nothing_of_the_product() -> None:
    """It is started for every command that needs it, so it must be there at once."""
    assert "import host" not in WORKER.read_text()
    assert "from host" not in WORKER.read_text()


def test_nothing_of_the_libraries_is_imported_here() -> None:
    program = (
        "import sys, host.talk.conversation, host.talk.opening, host.packing.pack, host.commands.run\n"
        "import host.image.device_text\n"
        "assert not {'tokenizers', 'minijinja'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_the_worker_serves_until_its_input_ends() -> None:
    from host.tokens.sandbox_worker import serve

    def frame(**request: Any) -> bytes:
        data = json.dumps({"limit": 1000, "seconds": 600} | request).encode()
        return len(data).to_bytes(4, "little") + data

    sink = io.BytesIO()
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr("host.tokens.sandbox_worker.resource", None)  # this process keeps its limits
        serve(io.BytesIO(frame(op="ids", key="x", tokens=["a"]) + frame(op="nope") + b"\x01"), sink)
    first = int.from_bytes(sink.getvalue()[:4], "little")
    assert json.loads(sink.getvalue()[4 : 4 + first])["kind"] == "absent"
    assert json.loads(sink.getvalue()[8 + first :])["kind"] == "error"


def test_tokenizers_are_replaced_not_piled_up() -> None:
    codecs = [Codec(changed(version="1.0", added_tokens=[]) + " " * i) for i in range(12)]
    assert len({tuple(codec.encode("the")) for codec in codecs}) == 1
    assert isinstance(codecs[0], Codec)


def test_refusals_keep_their_kind() -> None:
    tokenizer = Tokenizer("{", None, (), None, refusal=ImageError)
    with pytest.raises(ImageError):
        codec_of(tokenizer)
