# SPDX-License-Identifier: Apache-2.0
"""What recipes there are and what is in the cache, as ``host models`` and ``host cache`` show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from host.cache import cache_directory, private_folder, remember
from host.cli import create_app
from host.errors import HostError
from host.files.recipe import find_recipe, kept_path
from host.image.reader import Image
from tests.support.tiny import tiny_image, tiny_llama


def host(*words: str) -> Result:
    return CliRunner().invoke(create_app(), list(words))


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A cache with one entry of each kind."""
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "cache"))
    found = find_recipe("smollm2-135m-instruct")
    assert found is not None
    top = cache_directory()
    files = {
        "model": kept_path(found),
        "packed image": top / "models" / "images" / "a.native.012345678901.hsp",
        "chat history": top / "models" / "chat" / "history",
        "simulator": top / "spike-1" / "spike",
        "sources of libsodium": top / "pynacl-1" / "src" / "a.c",
        "leftover": kept_path(found).parent / ".part-x" / "half",
    }
    for size, path in enumerate(files.values(), 10):
        private_folder(path.parent)
        path.write_bytes(bytes(size))
    remember(files["model"], found.sha256)
    return files


def listed(*words: str) -> dict[str, Any]:
    facts = json.loads(host("cache", "--json", *words).stdout)
    assert facts["bytes"] == sum(entry["size"] for entry in facts["entries"])
    return {entry["what"]: entry for entry in facts["entries"]}


def test_each_kind_is_shown(filled: dict[str, Path]) -> None:
    found = listed()
    assert set(found) == set(filled)
    assert [found[what]["size"] for what in filled] == list(range(10, 16))
    assert (found["model"]["source"], found["model"]["verified"]) == ("smollm2-135m-instruct", "yes")
    assert found["packed image"]["verified"] == "when used"
    tiny_image(filled["packed image"], tiny_llama())
    assert listed()["packed image"]["source"] == Image(filled["packed image"]).manifest["name"]
    filled["model"].write_bytes(b"another")
    assert listed()["model"]["verified"] == "changed"
    text = host("cache").stdout
    assert "smollm2-135m-instruct" in text
    assert str(cache_directory()) in text


def test_one_entry_is_removed(filled: dict[str, Path]) -> None:
    name = listed()["model"]["name"]
    assert host("cache", name, "--prune", "--yes").exit_code == 0
    assert not filled["model"].exists()
    assert filled["simulator"].exists()
    assert not list(cache_directory().rglob("*.verified"))


def test_all_is_removed_but_what_somebody_wrote(filled: dict[str, Path]) -> None:
    assert host("cache", "--prune", "--yes").exit_code == 0
    assert set(listed()) == {"chat history"}
    assert filled["chat history"].exists()
    assert host("cache", "models/chat", "--prune", "--yes").exit_code == 0
    assert listed() == {}


def test_nothing_is_removed_unasked(filled: dict[str, Path]) -> None:
    with pytest.raises(HostError, match="--yes"):
        raise host("cache", "--prune").exception or AssertionError
    assert all(path.exists() for path in filled.values())


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "models", "", "models/images/../images"])
def test_only_entries_can_be_named(name: str, filled: dict[str, Path]) -> None:
    with pytest.raises(HostError, match="not in the cache"):
        raise host("cache", name, "--prune", "--yes").exception or AssertionError
    assert all(path.exists() for path in filled.values())


def test_a_link_in_the_cache_is_removed_and_not_followed(filled: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    (cache_directory() / "link").symlink_to(tmp_path / "mine")
    assert host("cache", "link", "--prune", "--yes").exit_code == 0
    assert (tmp_path / "mine" / "letter").exists()
    assert not (cache_directory() / "link").is_symlink()
    assert all(path.exists() for path in filled.values())


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "none"))
    assert listed() == {}
    assert host("cache", "--prune").exit_code == 0


def test_recipes_are_listed(filled: dict[str, Path]) -> None:
    facts = {each["name"]: each for each in json.loads(host("models", "--json").stdout)}
    assert facts["smollm2-135m-instruct"]["cached"] is True
    assert facts["smollm2-135m-instruct"]["path"] == str(filled["model"])
    assert facts["smollm2-135m-instruct"]["bytes"] == 98362432
    assert facts["gpt2"]["cached"] is False
    assert facts["gpt2"]["licence"] == "MIT"
    text = host("models").stdout
    for words in (*facts, "Apache-2.0", "weights q4m", "93.8 MiB", "in the cache", "gpt2@FOLDER"):
        assert words in text
    assert json.loads(host("models", "gpt2", "--json").stdout) == facts["gpt2"]
    with pytest.raises(HostError, match="mean gpt2"):
        raise host("models", "gpt-2").exception or AssertionError
