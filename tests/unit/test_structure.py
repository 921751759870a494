# SPDX-License-Identifier: Apache-2.0
"""The structure of the host toolkit, read from its imports: no circle, and nothing imports upward.

``ORDER`` is the one list of this kind: a new folder of host/ gets its place there. Every other list below holds what
is still in the way; an entry that is in the way no longer fails its test, so that the lists only shrink.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    ("schema", "the ground: bytes in images and on the wire"),
    ("files", "what others wrote"),
    ("tokens", "tokenizers and chat templates"),
    ("ir", "the graph and its builder"),
    ("ops", "one file an op"),
    ("families", "one file a family"),
    ("model", "files, tokens and a family: one source"),
    ("quant", "weights as bytes"),
    ("compiler", "passes, lowering, places"),
    ("image", "writer and reader"),
    ("link", "a device over a line"),
    ("medium", "what a board boots from"),
    ("trust", "keys and signatures"),
    ("targets", "simulators, boards and farms"),
    ("bench", "measuring"),
    ("faults", "lines that break on purpose"),
    ("packing", "from a model to an image"),
    ("talk", "conversations"),
    ("command_line", "what commands share"),
    ("commands", "one file a command"),
)
"""Folders from the ground up. A module imports from its own folder, from folders before it, and from GROUND."""
GROUND = (
    *(
        "__init__",
        "boards",
        "cache",
        "choices",
        "digest",
        "errors",
        "fetch",
        "foreign",
        "kernels",
        "output",
        "places",
        "streams",
    ),
    *("compiled", "symbolize", "terminal", "words"),
)
"""Modules of host/ itself that every folder may import; they import each other alone."""
ROOF = ("__main__", "cli", "command_group", "pytest_device", "pytest_plugin", "pytest_short")
"""Modules of host/ itself that no folder may import."""

CIRCLES: tuple[frozenset[str], ...] = ()
UPWARD: frozenset[str] = frozenset()
"""Imports that point upward."""
LONG_FILES: frozenset[str] = frozenset()
LINES = 400


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of host by its dotted name."""
    found = {}
    for path in sorted((ROOT / "host").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Modules of host that a file imports anywhere, within functions and for types, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "host")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "host":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else str(node.module)


@functools.cache
def imports() -> dict[str, frozenset[str]]:
    """For each module the modules of host that it imports."""
    return {name: frozenset(imported(path)) & modules().keys() for name, path in modules().items()}


def reached(start: str) -> set[str]:
    """What a module imports, directly or by way of others."""
    found: set[str] = set()
    left = list(imports()[start])
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += imports()[name]
    return found


def circles() -> set[frozenset[str]]:
    """Groups of modules of which each reaches each."""
    all_reached = {name: reached(name) for name in modules()}
    found = set()
    for name, others in all_reached.items():
        if name in others:
            found.add(frozenset(other for other in others if name in all_reached[other]))
    return found


def test_no_circle_of_modules() -> None:
    assert circles() == set(CIRCLES)


def place(module: str) -> tuple[int, str]:
    """How high a module stands, and the name of its room."""
    room = modules()[module].relative_to(ROOT / "host").parts[0].removesuffix(".py")
    if room in GROUND:
        return -1, "ground"
    if room in ROOF:
        return len(ORDER), room
    names = [name for name, _ in ORDER]
    assert room in names, f"host/{room} is a new room: give it its place in ORDER of tests/unit/test_structure.py"
    return names.index(room), room


def test_nothing_imports_upward() -> None:
    upward = set()
    for module, others in imports().items():
        for other in others:
            here, there = place(module), place(other)
            if there[0] > here[0]:
                upward.add(f"{here[1]} -> {there[1]}" if there[1] in ROOF else f"{module} -> {other}")
    assert upward == UPWARD


@pytest.mark.parametrize("name", [name for name, _ in ORDER])
def test_every_room_of_the_order_is_there(name: str) -> None:
    assert (ROOT / "host" / name).is_dir()


def test_the_readme_shows_every_room() -> None:
    tree = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    ")]
    shown = set(" ".join(tree).split())
    folders = [path for root in ("host", "firmware") for path in (ROOT / root).iterdir() if path.is_dir()]
    sources = (".py", ".c", ".h", ".S")
    rooms = {path.name for path in folders if any(file.suffix in sources for file in path.rglob("*"))}
    assert rooms <= shown


def sources() -> Iterator[Path]:
    """What people write: Python, C and assembly, without kernels, which are as long as they are."""
    for folder in ("host", "firmware", "tools", "tests", "boards", "linker"):
        for path in sorted((ROOT / folder).rglob("*")):
            kernel = path.is_relative_to(ROOT / "firmware/kernels")
            if path.suffix in (".py", ".c", ".h", ".S") and not kernel and "data" not in path.parts:
                yield path
    yield ROOT / "SConstruct"


def test_files_are_short() -> None:
    long = {path.relative_to(ROOT).as_posix() for path in sources() if len(path.read_text().splitlines()) > LINES}
    assert long == LONG_FILES
