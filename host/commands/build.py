# SPDX-License-Identifier: Apache-2.0
"""``host build``: build firmware for a board, from a checkout or from an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from host.boards import load_board
from host.choices import choices
from host.command_line.completion import boards
from host.errors import UsageError
from host.places import TREE, build_root
from host.words import shown

ACTIONS = ("size", "run", "debug", "help")
PATHS = ("model", "key", "cache", "toolchain")
"""Settings that may name a file: relative to where the command is given."""


def register(app: typer.Typer) -> None:
    """Add ``host build``."""

    @app.command()
    def build(
        board: Annotated[str, typer.Argument(help="Board; `host boards` lists them.", autocompletion=boards)],
        settings: Annotated[
            list[str] | None,
            typer.Argument(help="As scons takes them: kernels=rvv, harts=2, key=FILE, ...; or size, run, debug."),
        ] = None,
        model: Annotated[
            str | None, typer.Option(help="Image or recipe that the firmware is checked with (none).")
        ] = None,
        jobs: Annotated[int | None, typer.Option("-j", "--jobs", min=1, help="Compilers at once (all).")] = None,
        dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Only say what would be built.")] = False,
    ) -> None:
        """Build a board's firmware and print its memory table; `host build BOARD help` lists the settings."""
        load_board(board)
        words = [*(settings or []), *([f"model={model}"] if model is not None else [])]
        given = [absolute(word) for word in words if word != "help"]
        named = next((word.removeprefix("build=") for word in given if word.startswith("build=")), None)
        root = build_root(str(Path(named).absolute())) if named else build_root()
        given = [word for word in given if not word.startswith("build=")]
        command = [sys.executable, "-m", "SCons", "-Q", f"-j{jobs or os.cpu_count() or 1}", f"board={board}"]
        command += [f"build={root}", *given, *(["-n"] if dry_run else []), *(["-h"] if "help" in words else [])]
        status = subprocess.call(command, cwd=TREE)
        if status:
            raise typer.Exit(status)
        if not dry_run and "help" not in words:
            typer.echo(f"built in {root}")


def absolute(word: str) -> str:
    """A word for SCons, which runs in another folder: a setting's path made absolute. Raises UsageError."""
    name, equals, value = word.partition("=")
    if not equals and word not in ACTIONS:
        raise UsageError(f"{shown(word)!r} is no setting (name=value) and no action; {choices(word, ACTIONS)}")
    if not equals or name not in PATHS or not value:
        return word
    here = Path(value)
    is_path = name != "toolchain" or here.name != value
    if is_path and (name in ("key", "cache") or here.name != value or here.is_file()):
        return f"{name}={here.expanduser().absolute()}"
    return word
