# SPDX-License-Identifier: Apache-2.0
"""Names in files choose where is written, or steer the terminal: paths, NUL, control and bidirectional characters."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from host import cli
from host.cli import create_app
from host.errors import HostError, SourceError, UsageError
from host.image.reader import Image
from host.model import load_source
from host.packing.pack import PackRequest
from host.packing.shown import pack_image
from host.words import MAX_NAME, file_name, shown, shown_lines
from tests.support.model_files import write_folder, write_gguf, write_vocabulary
from tests.support.tiny import tiny_llama

HOSTILE = [
    "../up",
    "/tmp/absolute",
    "..",
    ".",
    "",
    "a/../../b",
    "a\\..\\b",
    "a\0b",
    "x" * 400,
    "\u00e9" * 300,
    "\x1b[31mred\x1b]0;title\x07",
    "line\nbreak\r",
    "-rf",
    "~/x",
    "$(x) `x` ; x",
    "con",
    "\u202etxt.exe",
    "[bold]x[/nothing]",
    "\u2028\x9b2J",
    "   ",
]
ANY = st.text(st.characters(), max_size=300)


def steers(text: str) -> bool:
    return any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@settings(max_examples=200)
@given(ANY | st.sampled_from(HOSTILE))
def test_any_words_make_a_name_in_one_folder(words: str) -> None:
    name = file_name(words)
    assert name
    assert not set(name) & set('/\\\0:*?"<>|$`; \n[]~')
    assert name[0] not in ".-"
    assert name[-1] not in ".-"
    assert len(name) <= MAX_NAME
    assert len(name.encode()) <= 2 * MAX_NAME
    assert not steers(name)
    assert file_name(name) == name
    assert Path(name).name == name


@settings(max_examples=200)
@given(ANY | st.sampled_from(HOSTILE), st.integers(1, 50))
def test_any_words_make_one_shown_line(words: str, limit: int) -> None:
    line = shown(words, limit)
    assert len(line) <= limit + 1
    assert not steers(line)
    assert not steers(shown_lines(words).replace("\n", "").replace("\t", ""))
    line.encode()  # there are no surrogates


def test_plain_words_stay_what_they_are() -> None:
    for name in ("SmolLM2-135M_Instruct.v1+x", "Qwen3-0.6B", "Modèle", "模型", "модель"):
        assert file_name(name) == name
        assert shown(name) == name
    assert shown_lines("a\n\tb") == "a\n\tb"
    assert file_name("a b/c") == "a-b-c"


def named_gguf(path: Path, name: str) -> Path:
    def write(writer: GGUFWriter, size: int) -> None:
        write_vocabulary(writer, size)
        writer.add_name(name)
        writer.add_license(name)

    return write_gguf(tiny_llama(), path, vocabulary=write)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
def test_a_gguf_chooses_no_place(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = named_gguf(tmp_path / "m.gguf", name)
    (tmp_path / "in" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in" / "here")
    before = sorted(path for path in tmp_path.rglob("*") if path.parent != tmp_path / "in" / "here")
    _, path = pack_image(PackRequest(source=str(source)), quiet=True)
    assert path.parent == Path()
    assert [each.name for each in Path().iterdir()] == [path.name]
    assert sorted(each for each in tmp_path.rglob("*") if each.parent != tmp_path / "in" / "here") == before
    manifest = Image(path).manifest
    assert not steers(manifest["name"] + (manifest["licence"] or ""))


@pytest.mark.parametrize("name", ["../../up", "/abs", "a\x1bb", "x" * 9999, 5, ["a"], "", None, "a/"])
def test_a_config_chooses_no_place(name: Any, tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"_name_or_path": name}
    (folder / "config.json").write_text(json.dumps(config))
    found = load_source(folder).name
    assert found
    assert "/" not in found
    assert not steers(found)
    assert len(found) <= MAX_NAME + 1


def test_a_recipe_chooses_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tiny_llama(), tmp_path / "model")
    text = 'name = "../../up"\ntitle = "t"\nlicence = "MIT"\n[source]\nkind = "local"\npath = "model"\n'
    (tmp_path / "r.toml").write_text(text)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    _, path = pack_image(PackRequest(source=str(tmp_path / "r.toml")), quiet=True)
    assert path.parent == Path()
    assert path.is_file()


def test_what_exists_is_replaced_only_by_the_same_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = write_folder(tiny_llama(1), tmp_path / "a" / "model")
    other = write_folder(tiny_llama(2), tmp_path / "b" / "model")
    _, path = pack_image(PackRequest(source=str(first)), quiet=True)
    whole = path.read_bytes()
    assert pack_image(PackRequest(source=str(first)), quiet=True)[1] == path
    with pytest.raises(UsageError):
        pack_image(PackRequest(source=str(other)), quiet=True)
    assert path.read_bytes() == whole
    path.write_text("somebody's letter")
    with pytest.raises(UsageError):
        pack_image(PackRequest(source=str(first)), quiet=True)
    assert path.read_text() == "somebody's letter"
    pack_image(PackRequest(source=str(first)), quiet=True, force=True)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("words", ["\x1b]0;x\x07", "a\u202eb", "\x9b2J", "\udcff", "ok\x00"])
def test_errors_do_not_steer_the_terminal(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli._say(f"{words}: seen", 3)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert not steers(said.rstrip("\n"))


@pytest.mark.parametrize("name", ["\x1b[2J.gguf", "a\u202eb.safetensors", "x\ny.toml", "\udcff.gguf"])
def test_names_of_files_in_errors_are_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no model at all")
    for path in (tmp_path / name, tmp_path / f"not-{name}"):
        with pytest.raises(HostError) as caught:
            load_source(path)
        assert not steers(str(caught.value)), str(caught.value)


def test_tensors_names_in_errors_are_one_line(tmp_path: Path) -> None:
    from tests.support.model_files import stored_arrays

    arrays = stored_arrays(tiny_llama())
    arrays["\x1b[2J\nerror: \u202e"] = arrays["model.norm.weight"]
    with pytest.raises(SourceError) as caught:
        load_source(write_folder(tiny_llama(), tmp_path, arrays=arrays))
    assert not steers(str(caught.value))


def test_inspect_shows_foreign_words_harmlessly(tmp_path: Path) -> None:
    from tests.support.tiny import tiny_image

    made = tiny_llama()
    made.name = "\x1b]0;x\x07\u202e"
    made.provenance["licence"] = "\x9b2J\nroot 00"
    tiny_image(tmp_path / "m.hsp", made)
    for words in ([], ["--all"]):
        result = CliRunner().invoke(create_app(), ["inspect", str(tmp_path / "m.hsp"), *words])
        assert result.exit_code == 0
        assert not any(steers(line) for line in result.output.splitlines())
        assert not any(line.startswith("root 00") for line in result.output.splitlines())
