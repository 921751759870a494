# SPDX-License-Identifier: Apache-2.0
"""Every command in the README and in docs/ is run, in the order in which it stands, as a new user would.

A fence ```sh holds commands to run; ```sh board holds commands that need a board, of which the command line is checked
here, while test_board_commands.py runs them without one; ```text holds what a session looks like and no commands.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from host.cli import create_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_HERE = re.compile(r"^sh tools/test\.sh")  # it runs this very test
OUR_TESTS = re.compile(r"^\.venv/bin/python -m pytest ")  # they are run anyway: here only that they exist
CHAT = re.compile(r"^(host chat|sh tools/demo\.sh$|scons .*\brun$)")


@dataclass(frozen=True)
class Command:
    page: str
    line: int
    text: str
    needs_board: bool


def commands(page: Path) -> list[Command]:
    """The commands of one page; a trailing backslash continues a line, # begins a comment."""
    found: list[Command] = []
    fence, pending = "", ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        text = line.strip()
        if text.startswith("```"):
            fence = "" if fence else text[3:].strip()
            continue
        if fence not in ("sh", "sh board") or not text:
            continue
        if text.endswith("\\"):
            pending += text[:-1] + " "
            continue
        text, pending = re.sub(r"\s+#.*$", "", pending + text), ""
        if text and not text.startswith("#"):
            found.append(Command(page.name, number, text, fence == "sh board"))
    return found


ALL = {page.name: commands(page) for page in PAGES}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files with an environment of its own, so that what a command makes is new."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    make_environment(copy)
    return copy


def make_environment(copy: Path) -> None:
    """A .venv that has the packages of the running Python and imports the copy; setup.sh takes it for its own.

    A link to the running one would not do: setup.sh in the copy would install the copy into it.
    """
    venv.EnvBuilder(symlinks=True).create(copy / ".venv")
    packages = sysconfig.get_path("purelib")
    place = sysconfig.get_path("purelib", "venv", {"base": str(copy / ".venv"), "platbase": str(copy / ".venv")})
    Path(place, "copy.pth").write_text(f"{copy}\n{packages}\n")
    python = copy / ".venv/bin/python"
    for name, module in {"host": "host.cli", "scons": "SCons.Script.Main", "pytest": "pytest"}.items():
        script = copy / ".venv/bin" / name
        script.write_text(f"#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    state = "cat requirements.lock pyproject.toml | cksum >.venv/.setup-done"
    subprocess.run(["sh", "-c", state], cwd=copy, check=True)


def runs_here(page: str) -> bool:
    """Whether a page has a command that needs no board."""
    return any(not command.needs_board for command in ALL[page])


def run_page(page: str, checkout: Path) -> None:
    """All commands of a page, in order; fails with what the first one said that does not end well."""
    environment = os.environ | {"PATH": f"{checkout / '.venv' / 'bin'}:{os.environ['PATH']}", "TERM": "dumb"}
    environment.pop("HARTSPEAK_BUILD", None)
    # What tools/test.sh has compiled from the same sources need not be compiled again.
    environment |= {"HARTSPEAK_OBJECTS": str(ROOT / "build/objects"), "SCONSFLAGS": "--cache-readonly"}
    for command in ALL[page]:
        if command.needs_board or NOT_HERE.match(command.text):
            continue
        text = command.text + (" --collect-only" if OUR_TESTS.match(command.text) else "")
        typed = "Name one colour.\n/stats\n/quit\n" if CHAT.match(command.text) else ""
        done = subprocess.run(
            ["sh", "-c", text],
            cwd=checkout,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, (
            f"{page}:{command.line}: {command.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [name for name in ALL if name != "README.md" and runs_here(name)])
def test_commands_run(page: str, checkout: Path) -> None:
    run_page(page, checkout)


BOARD = [c for found in ALL.values() for c in found if c.needs_board]


@pytest.mark.parametrize("command", BOARD, ids=lambda c: f"{c.page}:{c.line}")
def test_board_commands_parse(command: Command) -> None:
    words = shlex.split(command.text)
    if words[0] != "host":
        pytest.skip(f"not a command of ours: {words[0]}")
    result = CliRunner().invoke(create_app(), [words[1], "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    group = typer.main.get_command(create_app())
    known = {name for p in group.commands[words[1]].params for name in p.opts}  # type: ignore[attr-defined]
    assert {w.split("=")[0] for w in words if w.startswith("--")} <= known


def test_environment_is_apart(checkout: Path) -> None:
    """What a command imports and builds is the copy's, and setup.sh has nothing to do there."""
    asked = "import host, sys; print(host.__file__, sys.prefix)"
    python = checkout / ".venv/bin/python"
    said = subprocess.run([python, "-c", asked], cwd="/", capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(checkout / "host/__init__.py"), str(checkout / ".venv")]
    setup = subprocess.run(["sh", "tools/setup.sh"], cwd=checkout, capture_output=True, text=True, check=True)
    assert (setup.stdout, setup.stderr) == ("", "")


def test_pages_have_commands() -> None:
    assert sum(len(found) for found in ALL.values()) > 10
