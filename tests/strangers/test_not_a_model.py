# SPDX-License-Identifier: Apache-2.0
"""What is no language model, or one that is not known or not here, is called what it is, with the way on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gguf import GGUFWriter

from host.errors import SourceError
from host.families import families
from host.files.hub import WANTED, is_hub_name
from host.model import load_source
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_llama


def gguf_of(path: Path, architecture: str, kind: str | None = None, **keys: str) -> Path:
    writer = GGUFWriter(path, architecture)
    if kind is not None:
        writer.add_type(kind)
    for key, value in keys.items():
        writer.add_string(key.replace("_", "."), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("architecture", "kind", "keys", "words"),
    [
        ("llama", "adapter", {}, "LoRA adapter"),
        ("llama", None, {"adapter_type": "lora"}, "LoRA adapter"),
        ("clip", None, {}, "projector"),
        ("clip", "mmproj", {}, "projector"),
        ("whatever", "imatrix", {}, "is no model"),
        ("controlvector", None, {}, "is no model"),
        ("qwen9", None, {}, "adding-an-architecture"),
    ],
)
def test_parts_in_gguf(architecture: str, kind: str | None, keys: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=words):
        load_source(gguf_of(tmp_path / "m.gguf", architecture, kind, **keys))


def test_an_adapters_folder(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(SourceError, match="merge_and_unload"):
        load_source(tmp_path)


def test_a_family_that_is_not_known_names_those_that_are(tmp_path: Path) -> None:
    folder = write_folder(tiny_llama(), tmp_path)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"mamba9"', 1))
    with pytest.raises(SourceError) as caught:
        load_source(folder)
    for words in ("'mamba9'", *families(), "docs/adding-an-architecture.md", "issue"):
        assert words in str(caught.value)
    assert (Path(__file__).parents[2] / "docs" / "adding-an-architecture.md").is_file()


@pytest.mark.parametrize("name", ["Org/Model", "org-1/Model.v1_2-3B"])
def test_names_of_the_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name(name)
    (tmp_path / name.partition("/")[0]).mkdir()
    assert not is_hub_name(name)


@pytest.mark.parametrize(
    "name", ["Model", "./Org/Model", "/Org/Model", "Org/Model/x", "Org/m.gguf", "a b/c", "../b", "O/", "-O/M"]
)
def test_what_is_no_name_of_the_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name(name)


def test_a_model_of_the_hub_is_fetched_after_saying_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tiny_llama(), tmp_path / "snapshot")
    seen: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        seen.update(options, name=name, said=capsys.readouterr().err)
        return str(folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot))
    assert load_source("Org/Model").tokenizer is not None
    assert seen["name"] == "Org/Model"
    assert "Org/Model" in seen["said"]
    assert seen["allow_patterns"] == list(WANTED)
    assert not any(pattern.endswith((".py", ".bin", ".pt", "*")) for pattern in WANTED)


@pytest.mark.parametrize(
    "error", [OSError("Name or service not known\nmore"), ValueError("404"), ImportError("no hub"), KeyError()]
)
def test_offline_it_is_one_line(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot))
    with pytest.raises(SourceError) as caught:
        load_source("Org/Model")
    assert caught.value.exit_code == 3
    assert "hf download Org/Model --local-dir Model" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["~nobody-has-this-name/m", "a\0b", "x" * 5000, "loop"])
def test_paths_that_lead_nowhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(SourceError):
        load_source(name)
