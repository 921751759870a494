# SPDX-License-Identifier: Apache-2.0
"""``host families``: list the families of models, what each was compared with, and what of them is refused."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import Annotated, Any

import typer

WIDTH = 110


def facts_of(name: str) -> dict[str, Any]:
    """What is known of one family, as plain data."""
    from gguf import MODEL_ARCH_NAMES

    from host.families import families

    family = families()[name]
    title = (sys.modules[f"host.families.{name}"].__doc__ or "").strip().splitlines()[0]
    return {
        "name": name,
        "title": title,
        "gguf": None if family.gguf is None else MODEL_ARCH_NAMES[family.gguf],
        "compared_with": ["small random models in transformers", *family.compared],
        "refused": list(family.refused),
    }


def lines_of(facts: dict[str, Any]) -> list[str]:
    """The same for people."""
    files = "safetensors" if facts["gguf"] is None else f"safetensors; GGUF as {facts['gguf']}"
    parts = [facts["title"], f"from {files}; compared with {', '.join(facts['compared_with'])}"]
    parts += [f"refused: {each}" for each in facts["refused"]]
    wrapped = [line for part in parts for line in textwrap.wrap(part, WIDTH, subsequent_indent="  ")]
    return [facts["name"], *(f"  {line}" for line in wrapped)]


def register(app: typer.Typer) -> None:
    """Add ``host families``."""

    @app.command()
    def families(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
        """List the families of models."""
        from host.families import families as known

        found = [facts_of(name) for name in known()]
        if json_:
            typer.echo(json.dumps(found, indent=2))
            return
        for facts in found:
            for line in lines_of(facts):
                typer.echo(line)
