# SPDX-License-Identifier: Apache-2.0
"""Images: written whole or not at all, the same bytes each time, read back, and refused when damaged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from host.cli import create_app
from host.compiler.compile import Options, compile_model
from host.errors import FitError, HostError, ImageError, SourceError, UsageError
from host.files.source import Source
from host.image.hashing import header_digest
from host.image.inspect import image_facts, image_text, session_bytes, size_text, summary
from host.image.reader import Image
from host.image.writer import write_image
from host.packing.pack import PackRequest, default_weights, prepare
from host.schema.formats import formats
from host.schema.image import HEADER_BYTES, HEADER_DIGEST_OFFSET, TENSOR_ALIGN, HashId, Layout, SectionId
from host.schema.weights import WeightFormat
from tests.support.images import ImageEditor
from tests.support.model_files import write_folder, write_gguf
from tests.support.native import Native
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.hsp"
    tiny_image(path, tiny_llama())
    return path


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def damaged(image: Path, at: int, data: bytes, redo_digest: bool = True) -> Path:
    """The image with other bytes at ``at``; the header's digest is made to match."""
    content = bytearray(image.read_bytes())
    content[at : at + len(data)] = data
    if redo_digest:
        content[HEADER_DIGEST_OFFSET:HEADER_BYTES] = header_digest(
            HashId.BLAKE2B, bytes(content[:HEADER_DIGEST_OFFSET])
        )
    image.write_bytes(content)
    return image


# ---- writing ----


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.hsp", "two.hsp"):
        tiny_image(tmp_path / name, tiny_llama())
    assert (tmp_path / "one.hsp").read_bytes() == (tmp_path / "two.hsp").read_bytes()


def test_the_file_is_padded(image: Path) -> None:
    opened = Image(image)
    assert image.stat().st_size % 4096 == 0
    assert image.stat().st_size == opened.header["file_size"]
    assert all(at % 4096 == 0 for at, _ in opened.sections.values())


def broken_source() -> Source:
    """A model whose last tensor cannot be read."""
    source = tiny_llama()

    def fail(_: object) -> Any:
        raise SourceError("tensor cannot be read")

    source.tensors["model.layers.1.mlp.down_proj.weight"].rows = fail  # type: ignore[method-assign]
    return source


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "tiny.hsp"
    path.write_bytes(b"before")
    source = broken_source()
    compiled = compile_model(source, Options())
    with pytest.raises(SourceError):
        write_image(path, source, compiled, {})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot write"):
        tiny_image(tmp_path / "nowhere" / "tiny.hsp", tiny_llama())
    with pytest.raises(HostError, match="cannot write"):
        tiny_image(tmp_path, tiny_llama())


# ---- reading ----


def test_contents_come_back(image: Path) -> None:
    source = tiny_llama()
    opened = Image(image)
    opened.verify()
    assert opened.tokenizer == source.tokenizer
    assert opened.manifest == {"name": "tiny-llama"}
    assert opened.plan["vocab"] == 131
    assert opened.plan["stop_ids"][: opened.plan["stop_count"]] == [2]
    by_name = {t.name: t.index for t in opened.tensors}
    norm = opened.tensor_float32(by_name["model.norm.weight"])
    assert (norm[0] == source.tensors["model.norm.weight"].float32()).all()


@pytest.mark.parametrize(
    ("weights", "layout"), [(fmt, layout) for fmt in formats().values() for layout in fmt.layouts if layout]
)
def test_tensors_come_back(tmp_path: Path, weights: WeightFormat, layout: Layout) -> None:
    source = tiny_llama(tie_word_embeddings=False)
    tiny_image(tmp_path / "i", source, Options(weights=weights, layout=layout, without=("fold_norms",)))
    opened = Image(tmp_path / "i")
    for name in ("model.layers.1.mlp.down_proj.weight", "lm_head.weight"):
        exact = source.tensors[name].float32()
        entry = next(t for t in opened.tensors if t.name == name)
        back = opened.tensor_float32(entry.index)
        back = opened.tensor_float32(entry.index)
        assert rms(back - exact) <= entry.format.error * rms(exact)


def test_an_image_without_tokenizer(tmp_path: Path) -> None:
    source = tiny_llama()
    source.tokenizer = None
    tiny_image(tmp_path / "i", source)
    with pytest.raises(ImageError, match="TOKENIZER"):
        _ = Image(tmp_path / "i").tokenizer


def test_truncated_images_are_refused(image: Path) -> None:
    data = image.read_bytes()
    for size in (0, 3, 8, 100, HEADER_BYTES - 1, HEADER_BYTES, len(data) // 2, len(data) - 1):
        image.write_bytes(data[:size])
        with pytest.raises(ImageError, match=r"truncated|model image"):
            Image(image)


def test_every_damaged_header_byte_is_refused(image: Path) -> None:
    data = image.read_bytes()
    positions = [*range(128 + 10 * 32), *range(HEADER_DIGEST_OFFSET, HEADER_BYTES)]
    for at in positions:
        with pytest.raises(ImageError):
            Image(damaged(image, at, bytes([data[at] ^ 0x41]), redo_digest=False))
        image.write_bytes(data)


def test_structural_damage_never_escapes_as_another_exception(image: Path) -> None:
    data = image.read_bytes()
    rng = np.random.default_rng(7)
    end = Image(image).sections[SectionId.NAMES][0]
    for _ in range(300):
        at = int(rng.integers(96, end))
        try:
            opened = Image(damaged(image, at, rng.bytes(int(rng.integers(1, 9)))))
            json.dumps(image_facts(opened))
            assert list(image_text(opened))
            opened.verify()
        except ImageError:
            pass
        image.write_bytes(data)


def test_other_versions_and_files_are_named(image: Path) -> None:
    with pytest.raises(ImageError, match=r"version 1\b"):
        Image(damaged(image, 8, b"\x01\x00"))
    image.write_bytes(b"GGUF" + bytes(5000))
    with pytest.raises(ImageError, match=r"GGUF.*host pack"):
        Image(image)
    with pytest.raises(ImageError, match="no such image"):
        Image(image.parent / "absent.hsp")


def test_a_tensor_lies_in_the_weights(image: Path) -> None:
    editor, tensor = ImageEditor(image.read_bytes()), Image(image).tensors[-1]
    image.write_bytes(editor.tensor(tensor.index, offset=tensor.offset + TENSOR_ALIGN).sealed())
    with pytest.raises(ImageError, match="place"):
        Image(image)


def test_damaged_contents_are_found_and_placed(image: Path) -> None:
    at, size = Image(image).sections[SectionId.WEIGHTS]
    damaged(image, at + size // 2, b"\x55\xaa\x55")
    opened = Image(image)
    with pytest.raises(ImageError, match=r"hash near byte .*WEIGHTS"):
        opened.verify()


def test_an_unknown_optional_section_is_passed_over_but_not_a_required_one(image: Path) -> None:
    table = 128
    manifest = next(i for i in range(11) if image.read_bytes()[table + 32 * i] == SectionId.MANIFEST)
    assert Image(damaged(image, table + 32 * manifest, b"\x63")).manifest == {}
    with pytest.raises(ImageError, match="section 99"):
        Image(damaged(image, table + 32 * manifest + 4, b"\x01"))


def test_inspection_names_everything(image: Path) -> None:
    opened = Image(image)
    facts = image_facts(opened)
    json.dumps(facts)
    assert [op["op"] for op in facts["program"]] == [op.name.upper() for op in opened.ops]
    assert session_bytes(opened) == compile_model(tiny_llama(), Options()).session_bytes
    text = "\n".join([*summary(opened), *image_text(opened)])
    for tensor in opened.tensors:
        assert tensor.name in text
    assert "linear(" in text
    assert "weight=0.gated.gate_up.weight" in text
    assert re.search(r"context +512 positions, stops when full", text)


def test_inspection_steers_no_terminal(tmp_path: Path) -> None:
    source = tiny_llama()
    source.name = "tiny\x1b]0;owned\x07\nall hashes match"
    tiny_image(tmp_path / "tiny.hsp", source)
    shown = run("inspect", tmp_path / "tiny.hsp")
    assert "tiny.hsp: tiny\ufffd]0;owned\ufffd\ufffdall hashes match (unknown) for unknown" in shown.stdout
    assert not {"\x1b", "\x07"} & set(shown.stdout)
    facts = json.loads(run("inspect", tmp_path / "tiny.hsp", "--json").stdout)
    assert facts["manifest"]["name"] == source.name


def test_sizes_in_words() -> None:
    assert [size_text(n) for n in (7, 2048, 3 << 20, 5 << 29)] == ["7 bytes", "2.0 KiB", "3.0 MiB", "2.5 GiB"]


# ---- packing ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tiny_llama(), tmp_path / "model")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(create_app(), [str(argument) for argument in arguments])


def test_pack_and_inspect(native: Native, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.hsp"
    done = run("pack", folder, "--board", "qemu-virt", "--weights", "q4", "--context", "256", "-o", out, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["weights"], facts["output_weights"], facts["kv"], facts["context"]) == ("q4", "q8", "int8", 256)
    info = native.load(out)
    assert facts["image_bytes"] == out.stat().st_size
    assert facts["arena_needed"] == info.arena_bytes + info.runtime_bytes
    shown = run("inspect", out, "--check", "--json")
    assert json.loads(shown.stdout)["verified"] is True
    assert "all hashes match" in run("inspect", out, "--check").stdout
    assert "whole" not in Image(out).manifest
    assert str(tmp_path) not in json.dumps(Image(out).manifest)


def test_pack_gguf_takes_its_blocks_over(tmp_path: Path) -> None:
    source = tiny_llama(head_dim=32, num_attention_heads=3, num_key_value_heads=1)
    for kind, weights in (("Q4_0", "q4"), ("Q4_1", "q4m"), ("Q8_0", "q8")):
        path = write_gguf(source, tmp_path / f"{kind}.gguf", kind)
        packing = prepare(PackRequest(str(path)))
        assert packing.facts()["weights"] == weights
        assert packing.advice() is None
        again = prepare(PackRequest(str(path), weights="q4" if weights == "q4m" else "q4m")).advice()
        assert again is None if weights == "q8" else f"--weights {weights}" in str(again)
        packing.write(tmp_path / "i")
        opened = Image(tmp_path / "i")
        name = "model.layers.0.mlp.down_proj.weight"
        back = opened.tensor_float32(next(t.index for t in opened.tensors if t.name == name))
        exact = packing.source.tensors[name].float32()
        assert np.abs(back - exact).max() <= 2**-8 * np.abs(exact).max()


def test_default_weights_follow_the_majority() -> None:
    source = tiny_llama()
    for kinds, expected in (
        ({"F32": 60, "Q4_1": 210, "Q8_0": 1}, "q4m"),
        ({"F32": 60, "Q4_0": 9, "Q6_K": 9}, "q8"),
        ({"F32": 10, "F16": 5}, "q8"),
    ):
        source.provenance["quantization"] = kinds
        assert default_weights(source) == expected


def test_kernels_of_the_board_choose_the_layout(folder: Path) -> None:
    def layout(**request: Any) -> str:
        return str(prepare(PackRequest(str(folder), **request)).facts()["layout"])

    assert layout(board="visionfive2") == "swar"
    assert layout(board="visionfive2", layout="rvv") == "rvv"


@pytest.mark.parametrize(("board", "weights", "layout"), [
    ("visionfive2", "q8", Layout.LEAN), ("visionfive2", "q4", Layout.SWAR), ("milkv-duos", "q8", Layout.SWAR),
    ("p550", "q8", Layout.SWAR), ("bpi-f3", "q8", Layout.RVV),
])  # fmt: skip
def test_harts_that_wait_for_memory_get_fewer_bytes(folder: Path, board: str, weights: str, layout: Layout) -> None:
    """Four U74 do, one C906 has more to compute; of a P550 nobody knows."""
    prepared = prepare(PackRequest(str(folder), board=board, weights=weights))
    assert {t.layout for t in prepared.compiled.lowered.tensors if t.format.name == weights} == {layout}


def test_what_does_not_fit_is_refused_before_writing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = prepare(PackRequest(str(folder), board="visionfive2", sessions=2, kv="f32"))
    room = packing.needed_bytes - packing.compiled.session_bytes
    monkeypatch.setattr("host.boards.Board.arena_bytes", room)
    assert packing.max_sessions == 1
    with pytest.raises(FitError, match=r"host pack .*--kv f32 --sessions 1\n"):
        packing.check_fit()
    result = run("pack", folder, "--board", "visionfive2", "--sessions", "2", "--kv", "f32", "-o", tmp_path / "no.hsp")
    assert isinstance(result.exception, FitError)
    assert not (tmp_path / "no.hsp").exists()
    monkeypatch.setattr("host.boards.Board.image_limit", packing.image_bytes - 1)
    with pytest.raises(FitError, match=r"1 bytes .*\n  host pack .*--weights q4m "):
        packing.check_fit()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--weights", "q3", "--weights 'q3' is not known; known are f32, bf16, q8, q4, q4m"),
        ("--kv", "int4", "--kv 'int4' is not known; did you mean int8?"),
        ("--layout", "neon", "--layout 'neon'"),
        ("--overflow", "wrap", "--overflow 'wrap'"),
        ("--context", "1024", "--context 1024 is outside this model's 1 to 512"),
        ("--board", "visionfive3", "no board 'visionfive3'"),
        ("--without", "everything", "no pass everything"),
    ],
)
def test_wrong_options_are_named(folder: Path, option: str, value: str, words: str) -> None:
    arguments = ["pack", str(folder), option, value] + ([] if option == "--board" else ["--board", "native"])
    result = run(*arguments)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)


@pytest.mark.parametrize("version", [-1, 1 << 32])
def test_an_image_version_that_the_header_cannot_hold_is_refused(folder: Path, version: int) -> None:
    result = run("pack", str(folder), "--board", "native", "--image-version", str(version))
    assert result.exit_code == UsageError.exit_code
    assert "--image-version" in result.output


def test_a_folder_as_the_output_is_refused(folder: Path, tmp_path: Path) -> None:
    result = run("pack", str(folder), "--board", "native", "-o", str(tmp_path))
    assert isinstance(result.exception, UsageError)
    assert "is a directory" in str(result.exception)
    assert not list(tmp_path.glob("*.hsp"))


def test_errors_end_the_command_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "host", "inspect", str(tmp_path / "absent.hsp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ImageError.exit_code
    assert "there is no such image" in done.stderr
    assert "Traceback" not in done.stderr


def test_gpt2_packs(native: Native, tmp_path: Path) -> None:
    folder = write_folder(tiny_gpt2(), tmp_path / "gpt2")
    packing = prepare(PackRequest(str(folder), weights="f32"))
    assert packing.facts()["kv"] == "f32"
    packing.write(tmp_path / "i")
    native.load(tmp_path / "i")
    assert np.isfinite(native.feed([5, 6, 7])).all()
