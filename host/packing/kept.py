# SPDX-License-Identifier: Apache-2.0
"""What lies in the cache: each entry with what it is, its size, where it is from, and whether it was hashed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from host.cache import STAMP, cache_directory, forget, remembered
from host.errors import HostError, UsageError
from host.words import shown

SCRATCH = ".part-"
TOOLS = {
    "spike-": "simulator",
    "pynacl-": "sources of libsodium",
    "peers": "llama.cpp to compare with",
    "build": "firmware",
    "compiled": "functions of the packer",
}
"""Folders that are one entry each, by how their names begin."""
PERSONAL = "chat history"
"""Is shown, and removed only by its name."""


@dataclass(frozen=True)
class Entry:
    """One file or folder of the cache. ``verified``: yes, changed (hashed again when used), when used, or no."""

    name: str
    what: str
    size: int
    source: str
    verified: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return cache_directory() / self.name

    def facts(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count as nothing."""
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode):
        return sum(_size(each) for each in path.iterdir())
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _sorted(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _verified(path: Path, wanted: str = "") -> str:
    identity, untouched = remembered(path)
    if not identity or (wanted and identity != wanted):
        return "when used"
    return "yes" if untouched else "changed"


def _entry(path: Path, what: str, source: str, verified: str) -> Entry:
    return Entry(path.relative_to(cache_directory()).as_posix(), what, _size(path), source, verified)


def _made_from(path: Path) -> str:
    """The recipe or the name of the model that an image was packed from; empty where its manifest does not say."""
    from host.image.reader import Image

    try:
        manifest = Image(path).manifest
    except HostError:
        return ""
    source = manifest.get("source")
    recipe = source.get("recipe") if isinstance(source, dict) else None
    return shown(str(recipe or manifest.get("name") or ""))


def _models(folder: Path, recipes: dict[str, str]) -> Iterator[Entry]:
    for path in _sorted(folder):
        if path.name == "images":
            for image in _sorted(path):
                leftover = image.name.startswith(".") or image.name.endswith(".part")
                if leftover:
                    yield _entry(image, "leftover", "", "no")
                elif not image.name.endswith(STAMP):
                    yield _entry(image, "packed image", _made_from(image), _verified(image))
        elif path.name.endswith(STAMP):
            continue
        elif path.name == "chat" or path.name.startswith("chat_history"):
            yield _entry(path, PERSONAL, "", "no")
        elif len(path.name) == 64 and path.is_dir():
            for file in _sorted(path):
                whole = not file.name.startswith((SCRATCH, "tmp"))
                verified = _verified(file, path.name) if whole else "no"
                yield _entry(file, "model" if whole else "leftover", recipes.get(path.name, "no recipe here"), verified)
        else:
            yield _entry(path, "leftover", "", "no")


def entries() -> list[Entry]:
    """Everything in the cache that is not a note of ours about something else in it."""
    from host.files.recipe import cache_folder, recipes

    top, models = cache_directory(), cache_folder()
    found = list(_models(models, {each.sha256: each.name for each in recipes() if each.sha256}))
    for path in _sorted(top):
        if path == models or path.name.endswith(STAMP):
            continue
        kind = next((what for start, what in TOOLS.items() if path.name.startswith(start)), "leftover")
        verified = (
            _verified(path / "spike") if kind == "simulator" else "when used" if kind.startswith("sources") else "no"
        )
        found.append(_entry(path, kind, "", verified))
    return found


def chosen(found: list[Entry], names: list[str]) -> list[Entry]:
    """The entries of these names, or all that are nobody's own words. Raises UsageError for a name that is none."""
    if not names:
        return [entry for entry in found if entry.what != PERSONAL]
    known = {entry.name: entry for entry in found}
    for name in names:
        if name not in known:
            raise UsageError(f"{shown(name)!r} is not in the cache; host cache lists what is")
    return [known[name] for name in names]


def remove(entry: Entry) -> None:
    """Remove one entry, and its folder where that was all in it."""
    forget(entry.path)
    parent = entry.path.parent
    if parent not in (cache_directory(), cache_directory() / "models") and not any(parent.iterdir()):
        parent.rmdir()
