# SPDX-License-Identifier: Apache-2.0
"""``host cache``: show what is kept in your cache, and remove it."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add ``host cache``."""

    @app.command()
    def cache(
        names: Annotated[list[str] | None, typer.Argument(help="Only these, as listed; all.")] = None,
        prune: Annotated[bool, typer.Option("--prune", help="Remove them.")] = False,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing.")] = False,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Show what is kept in your cache: fetched models, packed images, tools. With --prune, remove it."""
        from host.cache import cache_directory
        from host.errors import UsageError
        from host.image.inspect import size_text
        from host.packing import kept
        from host.words import shown

        found = kept.entries()
        wanted = kept.chosen(found, names or []) if names or prune else found
        total = sum(entry.size for entry in wanted)
        if json_:
            facts = {"folder": str(cache_directory()), "bytes": total, "entries": [entry.facts() for entry in wanted]}
            typer.echo(json.dumps(facts | {"pruned": prune}, indent=2))
        else:
            typer.echo(f"{shown(str(cache_directory()), 4096)}: {len(wanted)} entries, {size_text(total)}")
            for entry in wanted:
                source = f", {shown(entry.source)}" if entry.source else ""
                words = f"{entry.what}{source}, hashed: {entry.verified}"
                typer.echo(f"  {size_text(entry.size):>10}  {shown(entry.name)}\n              {words}")
        if not prune or not wanted:
            return
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("--prune asks before it removes, and nobody is there to answer: add --yes")
            typer.confirm(f"Remove {len(wanted)} entries, {size_text(total)}?", abort=True, err=True)
        for entry in wanted:
            kept.remove(entry)
        typer.echo(f"removed {len(wanted)} entries, {size_text(total)}", err=True)
