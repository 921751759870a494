# SPDX-License-Identifier: Apache-2.0
"""``host symbolize``: find where in the source a firmware's trap was."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from host.errors import UsageError
from host.words import shown_lines


def register(app: typer.Typer) -> None:
    """Add ``host symbolize``."""

    @app.command()
    def symbolize(
        elf: Annotated[Path, typer.Argument(help="The firmware.elf that the board runs.")],
        log: Annotated[Path | None, typer.Argument(help="What it printed; standard input where left out.")] = None,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON: each line, and the places in it.")] = False,
    ) -> None:
        """Turn the addresses of a TRAP text into functions and lines; callers are guesses from the stack."""
        from host import symbolize as work

        symbols = work.Symbols(elf)
        try:
            text = log.read_text(encoding="utf-8", errors="replace") if log else sys.stdin.read()
        except OSError as error:
            raise UsageError(f"cannot read {log}: {error.strerror}") from error
        if json_:
            lines = [{"line": line, "places": places} for line, places in work.found_places(symbols, text)]
            typer.echo(json.dumps(lines, indent=2))
            return
        for line in work.symbolize(symbols, text):
            typer.echo(shown_lines(line))
