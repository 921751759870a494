# SPDX-License-Identifier: Apache-2.0
"""The command line itself: what is imported for help, what is completed, what was probably meant."""

from __future__ import annotations

import importlib
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from host.boards import board_names, load_board
from host.choices import choices, meant
from host.cli import create_app
from host.command_group import load_module
from host.command_line.listing import command_lines, root_help
from host.errors import HostError
from host.files.recipe import recipes
from host.schema.formats import format_names
from host.targets import parse_spec

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = Path(importlib.import_module("host.commands").__file__ or "").parent
HEAVY = {"numpy", "tokenizers", "gguf", "typer", "rich", "construct", "serial"}


@pytest.mark.parametrize("words", ["--version", "--help", "-h"])
def test_help_and_version_import_nothing_heavy(words: str) -> None:
    code = (
        f"import sys; sys.argv = ['host', '{words}']\n"
        "from host.cli import main\n"
        "try: main()\n"
        f"finally: print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith("hartspeak " if words == "--version" else "Usage: host ")


@pytest.mark.parametrize("command", ["run", "chat", "resume", "load", "session"])
def test_help_of_a_command_imports_little(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['host', '{command}', '--help']\n"
        "from host.cli import main\n"
        "try: main()\n"
        f"finally: print(sorted(set(sys.modules) & {HEAVY - {'typer', 'construct'}!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith(f"Usage: host {command} ")


def test_help_takes_at_most_four_empty_starts() -> None:
    """Medians of one run, turn by turn, so that a busy machine slows all alike."""

    def start(*words: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begin

    rows = [(start("-c", "pass"), start("-m", "host", "--help"), start("-m", "host", "--version")) for _ in range(7)]
    empty, asked, version = (statistics.median(column) for column in zip(*rows, strict=True))
    assert max(asked, version) <= 4 * empty


def test_every_module_names_its_commands() -> None:
    """The lines of a module's docstring are what it registers; so help needs no import."""
    lines = command_lines()
    for path in COMMANDS.glob("[!_]*.py"):
        named = {name for name, line in lines.items() if line.module == path.stem}
        assert set(load_module(path.stem)) == named, path.name


def test_help_is_the_same_with_the_library() -> None:
    shown = CliRunner().invoke(create_app(), ["--help"]).stdout
    assert shown == f"{root_help()}\n"
    assert max(map(len, shown.splitlines())) <= 110
    assert all(f"  {name} " in shown for name in command_lines())


def test_every_option_of_help_exists() -> None:
    group = typer.main.get_command(create_app())
    known = {name for parameter in group.params for name in parameter.opts} | {"-h", "--help"}
    assert set(re.findall(r"^  (--?[a-z-]+)", root_help(), re.MULTILINE)) <= known


def beginning(names: Iterable[str], start: str) -> list[str]:
    found = [name for name in names if name.startswith(start)]
    assert found
    return found


def complete(line: str) -> list[str]:
    """What bash is offered behind ``line``."""
    words = line.split()
    at = len(words) if line.endswith(" ") else len(words) - 1
    asked = {"_HOST_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(at)}
    result = CliRunner().invoke(create_app(), [], env=asked, prog_name="host")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout.split()


def test_commands_are_completed_without_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.command_group.load_module", lambda name: pytest.fail(f"{name} was imported"))
    assert complete("host ") == list(command_lines())
    assert complete("host ins") == beginning(command_lines(), "ins")


def test_arguments_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.hsp", "model.gguf", "model.txt", ".hidden.hsp"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    monkeypatch.chdir(tmp_path)
    assert complete("host boards vis") == beginning(board_names(), "vis")
    assert "template" not in complete("host boards ")
    assert complete("host inspect mo") == ["model.hsp", "more/"]
    assert complete("host pack mod") == ["model.gguf"]
    assert complete("host pack smollm2") == beginning((recipe.name for recipe in recipes()), "smollm2")
    assert complete("host pack x --board bpi") == beginning(board_names(), "bpi")
    assert sorted(complete("host pack x --weights q4")) == sorted(beginning(format_names(), "q4"))
    assert "visionfive2@spike" in complete("host run x --target vis")
    assert complete("host inspect absent/x") == []


def test_what_was_meant() -> None:
    assert meant("visionfive", ["native", "visionfive2"]) == "did you mean visionfive2?"
    assert meant("Q4", ["q4m", "q4"]) == "did you mean q4?"
    assert meant("qwertz", ["native", "visionfive2"]) == ""
    assert meant("", ["native"]) == ""
    assert choices("bpif3", ["bpi-f3", "k230"]) == "did you mean bpi-f3? known are bpi-f3, k230"
    assert choices("x", []) == "known are none"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: load_board("visionfive"), "no board 'visionfive'; did you mean visionfive2?"),
        (lambda: load_board("BPI-F3"), "did you mean bpi-f3?"),
        (lambda: parse_spec("qemuvirt"), "no target 'qemuvirt'; did you mean qemu-virt?"),
        (lambda: parse_spec("spike:vlan=128"), "unknown option 'vlan=128'; did you mean vlen=BITS?"),
    ],
)
def test_choices_that_are_refused_say_what_was_meant(ask: object, words: str) -> None:
    with pytest.raises(HostError) as refusal:
        ask()  # type: ignore[operator]
    assert words in str(refusal.value)


FACTS = set(command_lines()) - {"build", "chat", "monitor"}
"""Commands that print facts; the others talk, or pass on what they hear."""


def all_commands() -> dict[str, Any]:
    """Every command that does something, by its words."""
    group = typer.main.get_command(create_app()).commands  # type: ignore[attr-defined]
    found = {}
    for name, command in group.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {word}": one for word, one in inner.items()} if inner else {name: command}
    return found


def test_facts_can_be_had_as_json() -> None:
    for name, command in all_commands().items():
        options = {word for parameter in command.params for word in parameter.opts}
        assert ("--json" in options) == (name.split()[0] in FACTS), name


def test_help_says_every_default() -> None:
    """Where the library cannot show it, the words end in it, in parentheses."""
    for name, command in all_commands().items():
        for option in command.params:
            if option.param_type_name != "option" or option.required or getattr(option, "is_flag", False):
                continue
            if option.hidden or option.name == "help":
                continue
            assert option.default not in (None, "", []) or re.search(r"\(.+\)\.$", option.help or ""), (
                name,
                option.opts,
            )


def test_files_that_are_written_are_named_by_out() -> None:
    commands = all_commands()
    for name in ("pack", "sign", "bench", "monitor"):
        assert any({"-o", "--out"} <= set(parameter.opts) for parameter in commands[name].params), name
