# SPDX-License-Identifier: Apache-2.0
"""``host inspect``: show what is in an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from host.image.inspect import image_facts, image_text
from host.image.reader import Image
from host.terminal import printable


def register(app: typer.Typer) -> None:
    """Add ``host inspect``."""

    @app.command()
    def inspect(
        image: Annotated[Path, typer.Argument(help="Image file.")],
        check: Annotated[bool, typer.Option("--check", help="Also check the hashes of all contents.")] = False,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Show an image's plan, tensors, program and hashes."""
        opened = Image(image)
        if check:
            with Progress(console=Console(stderr=True, quiet=json_), transient=True) as bar:
                task = bar.add_task("checking hashes")
                opened.verify(lambda done, total: bar.update(task, completed=done, total=total))
        if json_:
            typer.echo(json.dumps(image_facts(opened) | {"verified": check}, indent=2))
            return
        for line in image_text(opened):
            typer.echo(printable(line, frozenset()))
        if check:
            typer.echo("\nall hashes match")
