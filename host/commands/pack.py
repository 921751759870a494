# SPDX-License-Identifier: Apache-2.0
"""``host pack``: pack a model file into a flash image for a board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.command_line import completion
from host.command_line.completion import one_of
from host.schema.formats import format_names

if TYPE_CHECKING:
    from host.packing.pack import Packing, PackRequest

NAMES = ", ".join(format_names())
FORMATS = one_of(*format_names())


def register(app: typer.Typer) -> None:
    """Add ``host pack``."""

    @app.command()
    def pack(
        source: Annotated[
            str,
            typer.Argument(
                help="safetensors file, Hugging Face folder, GGUF or recipe.", autocompletion=completion.sources
            ),
        ],
        board: Annotated[
            str,
            typer.Option("--board", help="Board the image is for; see host boards.", autocompletion=completion.boards),
        ],
        out: Annotated[Path | None, typer.Option("-o", "--out", help="Image to write (NAME.BOARD.hsp).")] = None,
        weights: Annotated[
            str | None,
            typer.Option(
                help=f"{NAMES} (the recipe's; else what keeps a GGUF's values, else q8).",
                autocompletion=FORMATS,
            ),
        ] = None,
        output_weights: Annotated[
            str | None,
            typer.Option(
                help="Embedding and output matrix (q8 beside 4-bit weights, else as --weights).", autocompletion=FORMATS
            ),
        ] = None,
        kv: Annotated[
            str | None,
            typer.Option(
                help="KV cache: int8 or f32 (int8; f32 with f32 weights).", autocompletion=one_of("int8", "f32")
            ),
        ] = None,
        context: Annotated[
            int | None, typer.Option(help="Positions a session holds (the recipe's, else the model's own).")
        ] = None,
        sessions: Annotated[int | None, typer.Option(help="Conversations kept at once (the recipe's, else 1).")] = None,
        overflow: Annotated[
            str,
            typer.Option(
                help="A full context: stop, or slide over the oldest.", autocompletion=one_of("stop", "slide")
            ),
        ] = "stop",
        sinks: Annotated[int, typer.Option(help="Positions that stay when the context slides.")] = 0,
        layout: Annotated[
            str | None,
            typer.Option(help="Weight layout: rvv or swar (the board's).", autocompletion=one_of("rvv", "swar")),
        ] = None,
        rows: Annotated[int, typer.Option(help="Rows of one step.")] = 64,
        image_version: Annotated[int, typer.Option(min=0, max=0xFFFFFFFF, help="Your counter against roll-back.")] = 0,
        without: Annotated[list[str] | None, typer.Option(hidden=True, help="Leave out this pass.")] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace whatever file has the image's name.")] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Plan only: say what it needs and whether it fits; write nothing.")
        ] = False,
        json_: Annotated[bool, typer.Option("--json", help="Print what the image needs as JSON.")] = False,
    ) -> None:
        """Pack a model into an image that a board executes in place."""
        from host.image.inspect import size_text
        from host.packing.pack import PackRequest
        from host.packing.shown import pack_image

        request = PackRequest(
            source=source,
            board=board,
            weights=weights,
            output_weights=output_weights,
            kv=kv,
            context=context,
            sessions=sessions,
            layout=layout,
            rows=rows,
            overflow=overflow,
            sinks=sinks,
            without=tuple(without or ()),
            image_version=image_version,
        )
        packing, path = (plan(request, json_), None) if dry_run else pack_image(request, out, quiet=json_, force=force)
        if json_:
            typer.echo(json.dumps(packing.facts() | {"image": str(path) if path else None}, indent=2))
        elif dry_run:
            typer.echo("it fits; nothing was written")
        else:
            typer.echo(f"{path}: {size_text(packing.image_bytes)}")


def plan(request: PackRequest, quiet: bool) -> Packing:
    """What the image would need, shown unless ``quiet``. FitError where it does not fit."""
    from host.packing.pack import prepare
    from host.packing.shown import plan_lines

    packing = prepare(request)
    for line in [] if quiet else plan_lines(packing):
        typer.echo(line, err=True)
    packing.check_fit()
    return packing
