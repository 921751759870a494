# SPDX-License-Identifier: Apache-2.0
"""``host models``: list the recipes, models that can be named wherever a command takes one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from host.files.recipe import Recipe


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says, and whether its model is in the cache."""
    from host.files.recipe import kept_path

    kept = kept_path(recipe) if recipe.package else None
    cached = kept is not None and kept.is_file()
    facts: dict[str, Any] = {
        "name": recipe.name,
        "title": recipe.title,
        "licence": recipe.licence,
        "package": str(recipe.package) if recipe.package else None,
        "architecture": recipe.architecture or None,
        "bytes": recipe.size or None,
        "pack": dict(recipe.pack),
        "expect": dict(recipe.expect),
        "cached": cached,
        "path": str(kept) if cached else str(recipe.path) if recipe.path else None,
    }
    return facts


def lines(facts: dict[str, Any]) -> list[str]:
    """A recipe for people."""
    from host.image.inspect import size_text

    packed = ", ".join(f"{key} {value}" for key, value in facts["pack"].items()) or "as the command line says"
    if facts["package"]:
        size = f", {size_text(facts['bytes'])}" if facts["bytes"] else ""
        where = f"{facts['package']} on PyPI{size}: {'in the cache' if facts['cached'] else 'fetched when first used'}"
    else:
        where = facts["path"] or f"a folder of yours: {facts['name']}@FOLDER"
    return [
        f"{facts['name']}: {facts['title']}",
        f"  licence {facts['licence']}; packed as {packed}",
        f"  from {where}",
    ]


def register(app: typer.Typer) -> None:
    """Add ``host models``."""

    @app.command()
    def models(
        name: Annotated[str, typer.Argument(help="Only this recipe, by name or file.")] = "",
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """List the recipes: models that can be named wherever a command takes one."""
        from host.choices import choices
        from host.errors import UsageError
        from host.families import families
        from host.files.recipe import find_recipe, recipes
        from host.words import shown

        found = recipes()
        if name:
            one = find_recipe(name)
            if one is None:
                raise UsageError(
                    f"there is no recipe {shown(name, 80)!r}; {choices(name, [each.name for each in found])}"
                )
            found = [one]
        facts = [recipe_facts(each) for each in found]
        if json_:
            typer.echo(json.dumps(facts[0] if name else facts, indent=2))
            return
        for each in facts:
            typer.echo("\n".join(lines(each)))
        if not name:
            typer.echo(f"and folders and GGUFs of these families: {', '.join(families())}")
