# SPDX-License-Identifier: Apache-2.0
"""``host inspect``: show what is in an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.command_line.completion import image_files

if TYPE_CHECKING:
    from host.errors import ImageError
    from host.image.reader import Image

MAX_LINE = 4000


def register(app: typer.Typer) -> None:
    """Add ``host inspect``."""

    @app.command()
    def inspect(
        image: Annotated[Path, typer.Argument(help="Image file.", autocompletion=image_files)],
        all_: Annotated[bool, typer.Option("--all", help="Also list sections, states, tensors and program.")] = False,
        check: Annotated[bool, typer.Option("--check", help="Also check the hashes of all contents.")] = False,
        key: Annotated[
            Path | None, typer.Option("--key", help="Check the signature by this public key (unchecked).")
        ] = None,
        json_: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    ) -> None:
        """Show what is in an image: for which board, from what source, in what formats, and what it needs.

        An image whose signature is not the key's ends with exit code 4, behind what there is to show.
        """
        from host.bench.bound import image_bound
        from host.image.inspect import image_facts, image_text, summary
        from host.image.reader import Image
        from host.words import shown

        opened = Image(image)
        if check:
            _check(opened, json_)
        bound = image_bound(opened)
        wrong: ImageError | None = None
        said = None
        if key:
            said, wrong = _signature(opened, key)
        if json_:
            facts = image_facts(opened) | {"verified": check, "bound_tokens_per_second": bound.empty if bound else None}
            typer.echo(json.dumps(facts | ({"signature_good": wrong is None} if key else {}), indent=2))
        else:
            for line in [
                *summary(opened, bound.words() if bound else None, said),
                *(["", *image_text(opened)] if all_ else []),
            ]:
                typer.echo(shown(line, MAX_LINE))
            if check:
                typer.echo("\nall hashes match")
        if wrong:
            raise wrong


def _check(image: Image, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, quiet=quiet), transient=True) as bar:
        task = bar.add_task("checking hashes")
        image.verify(lambda done, total: bar.update(task, completed=done, total=total))


def _signature(image: Image, key: Path) -> tuple[str, ImageError | None]:
    """Words for the summary, and what is wrong."""
    from host.errors import ImageError
    from host.trust.keys import key_id, load_public
    from host.trust.signing import check_signature

    public = load_public(key)
    try:
        check_signature(image, public)
    except ImageError as error:
        return "not good, see below", error
    return f"good, by key {key_id(public).hex()}", None
