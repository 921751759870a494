# SPDX-License-Identifier: Apache-2.0
"""The structure of the firmware, read from its includes: no circle of files, and no folder includes one above it.

``ORDER`` is the one list of this kind: a new folder of firmware/ gets its place there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
ORDER = (
    ("common", "the port as a struct, its harts, limits, bytes, arithmetic"),
    ("trust", "signatures"),
    ("formats", "one header a weight format"),
    ("kernels", "the loops, a folder a family"),
    ("image", "checks and decodes"),
    ("ops", "one file an op"),
    ("tokenizer", "text to tokens"),
    ("engine", "a model, its sessions, the step"),
    ("link", "frames to requests"),
    ("jobs", "runs and who hears of them"),
    ("terminal", "what a person may ask"),
    ("serve", "what a host may ask; wires all of the above"),
    ("drivers", "one file a chip"),
    ("flash", "slots of a medium, and which of them starts"),
    ("port", "the machines that the struct port stands for"),
    ("boot", "from reset to the port"),
)
"""Folders from the ground up. A file includes its own folder and folders before it."""
GENERATED = "gen/"
"""Headers that the build makes from declarations of the host: anybody may include them."""
FUNCTION_LINES = 60
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def sources(root: Path) -> list[Path]:
    """Every file that includes or is included."""
    return [path for path in sorted(root.rglob("*")) if path.suffix in (".c", ".h", ".S")]


def unit(path: Path) -> str:
    """A source and the header of its name are one: where either includes, the other is bound, too."""
    return path.with_suffix("").as_posix()


def includes(root: Path, path: Path) -> Iterator[Path]:
    """What a file includes of ours, as paths below the root."""
    for name in INCLUDE.findall(path.read_text()):
        if not name.startswith(GENERATED):
            assert (root / name).is_file(), f"{path} includes {name}: a path from firmware/ on is wanted"
            yield Path(name)


def edges(root: Path) -> dict[str, set[str]]:
    """For each unit the others that it includes."""
    found: dict[str, set[str]] = {}
    for path in sources(root):
        name = unit(path.relative_to(root))
        found.setdefault(name, set()).update({unit(other) for other in includes(root, path)} - {name})
    return found


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Units that lead back to themselves, as text; a search from each of them."""
    found = []
    for start in sorted(graph):
        before = dict.fromkeys(graph[start], start)
        queue = sorted(graph[start])
        while queue and start not in before:
            here = queue.pop(0)
            fresh = graph.get(here, set()) - before.keys()
            before |= dict.fromkeys(fresh, here)
            queue += sorted(fresh)
        if start in before:
            chain = [start, before[start]]
            while chain[-1] != start:
                chain.append(before[chain[-1]])
            found.append(" <- ".join(chain))
    return found


def upward(root: Path, order: tuple[str, ...]) -> list[str]:
    """Includes of a folder that stands above, as text."""
    found = []
    for path in sources(root):
        here = path.relative_to(root)
        for there in includes(root, path):
            if order.index(there.parts[0]) > order.index(here.parts[0]):
                found.append(f"{here} -> {there}")
    return found


def unlisted(root: Path, order: tuple[str, ...]) -> list[str]:
    """Folders without a place."""
    return [path.name for path in sorted(root.iterdir()) if path.is_dir() and path.name not in order]


def long_functions(root: Path, most: int) -> list[str]:
    """Functions of more lines than ``most`` from brace to brace, which clang-format puts into the first column."""
    found = []
    for path in sources(root):
        lines, begin = path.read_text().splitlines(), 0
        for number, line in enumerate(lines):
            if line == "{":
                begin = number
            elif line == "}" and number - begin + 1 > most:
                found.append(f"{path.relative_to(root)}:{begin}")
    return found


NAMES = tuple(name for name, _ in ORDER)


def test_every_folder_has_its_place() -> None:
    new = unlisted(FIRMWARE, NAMES)
    words = "give it its place in ORDER of tests/unit/test_structure_c.py, behind all that it includes"
    assert not new, f"new in firmware/: {', '.join(new)}; {words}"


@pytest.mark.parametrize("name", NAMES)
def test_every_place_has_its_folder(name: str) -> None:
    assert (FIRMWARE / name).is_dir()


def test_no_circle_of_files() -> None:
    assert circles(edges(FIRMWARE)) == []


def test_nothing_includes_upward() -> None:
    assert upward(FIRMWARE, NAMES) == []


def test_functions_are_short() -> None:
    """But those of kernels, which are as long as they are."""
    long = [where for where in long_functions(FIRMWARE, FUNCTION_LINES) if not where.startswith("kernels/")]
    assert long == []


def test_a_long_function_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int a[] = {\n1,\n2,\n};\nint f(void)\n{\n    return 1;\n}\n")
    assert long_functions(tmp_path, 2) == ["a.c:5"]
    assert long_functions(tmp_path, 3) == []


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """Three files in a circle of which two form one unit, an include upward, and a folder without a place."""
    made = {"low/a.c": "high/b.h", "low/a.h": "gen/x.h", "high/b.h": "high/c.h", "high/c.S": "low/a.h", "other/d.c": ""}
    for name, included in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'#  include "{included}"\n#include <low/a.h>\n' if included else "int d;\n")
    (tmp_path / "high/c.h").write_text("")
    graph = edges(tmp_path)
    assert graph == {"low/a": {"high/b"}, "high/b": {"high/c"}, "high/c": {"low/a"}, "other/d": set()}
    assert circles(graph)[-1] == "low/a <- high/c <- high/b <- low/a"
    assert len(circles(graph)) == 3
    assert unlisted(tmp_path, ("low", "high")) == ["other"]
    assert upward(tmp_path, ("low", "high", "other")) == ["low/a.c -> high/b.h"]
    (tmp_path / "other/d.c").write_text('#include "d.h"\n')
    with pytest.raises(AssertionError, match=r"d\.h"):
        edges(tmp_path)
