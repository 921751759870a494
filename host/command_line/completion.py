# SPDX-License-Identifier: Apache-2.0
"""What a shell is offered for an argument: boards, targets, recipes and files. Imports little: a person waits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

FILES = 200
"""Names that are offered at most."""


def _files(incomplete: str, endings: tuple[str, ...]) -> list[str]:
    """Files with one of the endings and folders that begin as ``incomplete`` does."""
    folder, name = os.path.split(incomplete)
    found = []
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:  # noqa: PTH111
            for entry in entries:
                if not entry.name.startswith(name) or (entry.name.startswith(".") and not name):
                    continue
                if entry.is_dir() or entry.name.endswith(endings):
                    found.append(os.path.join(folder, entry.name) + "/" * entry.is_dir())  # noqa: PTH118
    except OSError:
        return []
    return sorted(found)[:FILES]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def boards(incomplete: str) -> list[str]:
    """Boards."""
    from host.boards import board_names

    return _beginning(incomplete, board_names())


def targets(incomplete: str) -> list[str]:
    """Simulators, this machine, and the serial ports that are plugged in."""
    from host.targets.spec import target_names

    ports = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith(("ttyUSB", "ttyACM"))]  # noqa: PTH208
    return _beginning(incomplete, [*target_names(), *sorted(ports)])


def image_files(incomplete: str) -> list[str]:
    """Image files, and folders on the way to one."""
    return _files(incomplete, (".hsp",))


def recipes(incomplete: str) -> list[str]:
    """Recipes that come with the project."""
    from host.files.recipe import models_folder

    return _beginning(incomplete, sorted(path.stem for path in models_folder().glob("*.toml")))


def sources(incomplete: str) -> list[str]:
    """What can be packed: recipes, model files and folders."""
    return [*recipes(incomplete), *_files(incomplete, (".safetensors", ".gguf", ".toml"))]


def images(incomplete: str) -> list[str]:
    """What can be run: images first, then what is packed before."""
    return [*image_files(incomplete), *(name for name in sources(incomplete) if not name.endswith("/"))]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """A fixed list of words."""
    return lambda incomplete: _beginning(incomplete, words)
