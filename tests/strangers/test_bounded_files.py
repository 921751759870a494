# SPDX-License-Identifier: Apache-2.0
"""Files that take all memory or time, never end, or end in a traceback: JSON, TOML, headers, FIFOs and devices."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.errors import HostError, ImageError, SourceError
from host.files.gguf import MAX_ARRAY, MAX_SMALL_ARRAY, Skipped, open_gguf
from host.files.recipe import read_recipe
from host.files.safetensors import MAX_HEADER, open_safetensors
from host.foreign import MAX_DEPTH, _depth, open_regular, parse_json, read_bytes, words
from host.image.reader import Image
from host.model import load_source
from host.schema.image import SectionId
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_image, tiny_llama

STRING, ARRAY, UINT8, UINT32 = 8, 9, 0, 4
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def depth_of(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth_of, inside), default=0)


@settings(max_examples=60)
@given(JSON_VALUES, st.sampled_from([None, 1]))
def test_json_is_read_as_it_is(value: Any, indent: int | None) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
        assert _depth(text) == depth_of(value)
        assert parse_json(text) == value


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 100_000, "deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "deep"),
        (b'"' + b'\\"' * 500_000, "Unterminated"),
        (b'{"x": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"x": -' + b"9" * 41 + b"}", "digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands there twice"),
        (b'"\\ud800"', "surrogates"),
        (b"\xff", "utf-8"),
        (b'"\\u00"', "escape"),
        (b"[1,]", "Expecting|Illegal"),
        (b"", "Expecting"),
        (b"1" + b" " * (1 << 24), "more than"),
        (b"[" + b"," * (1 << 23) + b"]", "parts"),
    ],
)
def test_json_that_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(data)


def test_a_key_that_stands_twice_with_one_value_is_that_value() -> None:
    assert parse_json(b'{"a": [1], "b": 2, "a": [1]}') == {"a": [1], "b": 2}
    with pytest.raises(ValueError, match=r"'a' .*twice"):
        parse_json(b'{"a": [1], "a": [1], "a": [2]}')


@given(st.binary(max_size=40))
def test_bytes_end_in_a_value_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_json(data)


def test_foreign_values_in_messages_are_short() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for value in (deep, "x" * 10**6, list(range(10**6)), "\x1b[2J\u202e\n", {"a": deep}, 10**39):
        said = words(value)
        assert len(said) <= 90
        assert said.isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("what", ["fifo", "/dev/zero", "/dev/full", "folder", "socket"])
def test_what_is_no_file_is_not_waited_for(what: str, tmp_path: Path) -> None:
    import socket

    path = tmp_path / "it.toml"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.symlink_to(what)
    readers: list[Callable[[Path], object]] = [open_regular, read_recipe, open_gguf, open_safetensors, Image]
    for reader in readers:
        with pytest.raises(HostError) as caught:
            reader(path)
        assert caught.value.exit_code in (3, 4)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_with_devices_for_files(name: str, tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    try:
        load_source(folder)
    except SourceError:
        return
    assert name == "tokenizer_config.json"  # which a folder need not have


def test_a_file_longer_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert read_bytes(tmp_path / "f", 5) == b"12345"
    with pytest.raises(SourceError, match="4 bytes"):
        read_bytes(tmp_path / "f", 4)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": "64"},
        {"num_attention_heads": [4]},
        {"vocab_size": {"a": 1}},
        {"rope_theta": "x"},
        {"rope_scaling": [1]},
        {"tie_word_embeddings": "yes"},
        {"model_type": ["llama"]},
        {"hidden_act": ["silu"]},
        {"head_dim": 1e308},
        {"num_hidden_layers": -(2**70)},
        {"_name_or_path": 5},
        {"quantization_config": "x"},
        {"sliding_window": "all"},
    ],
)
def test_configs_of_other_kinds(change: dict[str, Any], tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    if "_name_or_path" in change:
        assert load_source(folder).name
        return
    with pytest.raises(SourceError):
        load_source(folder)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 20_000,
        "x = " + "{a = " * 3000,
        ".".join("a" * 3000) + " = 1",
        "x = " + "9" * 5000,
        "x = 1\nx = 2",
        "name = 5",
        'name = "a\\nb"\ntitle = "t"\nlicence = "l"',
        'name = "a\\u001bb"\ntitle = "t"\nlicence = "l"',
        f'name = "{"x" * 300}"\ntitle = "t"\nlicence = "l"',
        "\x00",
        "[[source]]\n",
        "#" * (1 << 17),
        'name = "n"\ntitle = "t"\nlicence = "l"\n[source]\nkind = "local"\n[pack]\ncontext = -5',
        'name = "n"\ntitle = "t"\nlicence = "l"\n[source]\nkind = "local"\n[pack]\ncontext = "x"',
        'name = "n"\ntitle = "t"\nlicence = "l"\n[source]\nkind = "local"\n[pack]\nweights = 5',
        'name = "n"\ntitle = "t"\nlicence = "l"\n[source]\nkind = "local"\npath = "a\\u0000b"',
    ],
)
def test_recipes_that_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"[" * 200_000, b"[]", b'{"x":' + b"9" * 6000 + b"}", b'{"a":1,"a":2}', b"\xff"])
def test_manifests_that_are_damaged(data: bytes, tmp_path: Path) -> None:
    tiny_image(tmp_path / "m.hsp", tiny_llama())
    image = Image(tmp_path / "m.hsp")
    image.section = lambda _section: data  # type: ignore[method-assign]
    assert SectionId.MANIFEST in image.sections
    with pytest.raises(ImageError, match="manifest"):
        _ = image.manifest


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def gguf(*entries: tuple[bytes, int, bytes]) -> bytes:
    body = b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in entries)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + body + bytes(64)


def array(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + body


def test_long_arrays_that_nothing_reads_are_passed_over(tmp_path: Path) -> None:
    count = MAX_SMALL_ARRAY + 1
    texts = b"".join(text(str(i).encode()) for i in range(count))
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gguf(
            (b"general.tags", ARRAY, array(STRING, count, texts)),
            (b"x.numbers", ARRAY, array(UINT32, count, bytes(4 * count))),
            (b"x.few", ARRAY, array(UINT32, 2, bytes(8))),
            (b"tokenizer.ggml.tokens", ARRAY, array(STRING, count, texts)),
            (b"after", UINT32, b"\5\0\0\0"),
        )
    )
    found = open_gguf(path).metadata
    assert found["general.tags"] == found["x.numbers"] == Skipped(count)
    assert found["x.few"] == [0, 0]
    assert found["tokenizer.ggml.tokens"] == [str(i) for i in range(count)]
    assert found["after"] == 5
    path.write_bytes(gguf((b"x", ARRAY, array(UINT8, MAX_ARRAY + 1, bytes(MAX_ARRAY + 1)))))
    with pytest.raises(SourceError, match="elements"):
        open_gguf(path)


def test_headers_longer_than_any_model_needs(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for length, said in ((MAX_HEADER + 1, "header of"), ((1 << 64) - 1, "header of"), (MAX_HEADER, "not a whole")):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        with pytest.raises(SourceError, match=said):
            open_safetensors(path)
    entry = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(entry % i for i in range((1 << 16) + 1)) + b"}"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(SourceError, match="65537 tensors"):
        open_safetensors(path)


MEASURE = """
import resource, sys
from pathlib import Path
from host.errors import HostError
from host.model import load_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_source(Path(sys.argv[1]))
except HostError:
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
LIMIT_MIB = 900


def hostile_headers() -> dict[str, Callable[[], bytes]]:
    """Headers that cost the most by what is allowed: some hundred MiB each, once some GiB."""
    half = MAX_HEADER // 2
    one = MAX_ARRAY
    return {
        "lists.safetensors": lambda: b'{"a":[' + b"[]," * (half // 3) + b"[]]}",
        "objects.safetensors": lambda: b'{"a":[' + b"{}," * (half // 3) + b"{}]}",
        "numbers.safetensors": lambda: b'{"a":[' + b"999," * (half // 4) + b"9]}",
        "keys.safetensors": lambda: (
            b'{"__metadata__":{' + b",".join(b'"%d":"x"' % i for i in range(half // 14)) + b"}}"
        ),
        "numbers.gguf": lambda: gguf(
            *((b"tokenizer.ggml.%d" % i, ARRAY, array(0, one, b"\7" * one)) for i in range(24))
        ),
        "wide.gguf": lambda: gguf(
            *((b"tokenizer.ggml.%d" % i, ARRAY, array(10, one, os.urandom(8 * one))) for i in range(12))
        ),
        "texts.gguf": lambda: gguf(
            *((b"tokenizer.ggml.%d" % i, ARRAY, array(STRING, one, text(b"\xff\xfe") * one)) for i in range(12))
        ),
        "long.gguf": lambda: gguf(*((b"k%d" % i, STRING, text(b"\xc3\xa9" * (1 << 23))) for i in range(40))),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", list(hostile_headers()))
def test_memory_of_a_hostile_header(name: str, tmp_path: Path) -> None:
    data = hostile_headers()[name]()
    path = tmp_path / name
    path.write_bytes(struct.pack("<Q", len(data)) + data if name.endswith("safetensors") else data)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    assert int(done.stdout) < LIMIT_MIB
