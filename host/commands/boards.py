# SPDX-License-Identifier: Apache-2.0
"""``host boards``: list the boards that firmware can be built for, or describe one."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer

from host.boards import Board, board_names, load_board
from host.command_line.completion import boards as complete_boards

MIB = 1 << 20


def board_facts(board: Board) -> dict[str, Any]:
    """Everything in the board's file, with what follows from it: arena and image space in bytes."""
    facts = dataclasses.asdict(board) | {"arena_bytes": board.arena_bytes, "image_limit": board.image_limit}
    del facts["file"]
    return facts


def memory_text(board: Board) -> str:
    """Arena and room for an image, for people."""
    image = f"image {board.image_limit // MIB} MiB" if board.image_limit else "image from a file"
    return f"arena {board.arena_bytes // MIB} MiB, {image}"


def describe(board: Board) -> str:
    """All that a person wants to know about one board."""
    lines = [f"{board.name}: {board.title}", f"  {board.soc}", f"  {memory_text(board)}"]
    isas = ", ".join(f"{kernels}: {isa}" for kernels, isa in board.isa.items())
    if board.chosen:
        isas = ", ".join(board.kernel_names)
    default = "the first that the processor has" if board.chosen else f"default {board.kernels}"
    lines += [f"  kernels {isas} ({default})", f"  harts {', '.join(map(str, board.harts.ids))}"]
    lines += [f"  ran on {tested}" for tested in board.tested]
    lines += ["  never yet on the board itself"] if board.untried else []
    return "\n".join([*lines, *(f"  {line}" for line in board.flash.how.splitlines())])


def register(app: typer.Typer) -> None:
    """Add ``host boards``."""

    @app.command()
    def boards(
        name: Annotated[
            str, typer.Argument(help="Describe this board, and how to flash it.", autocompletion=complete_boards)
        ] = "",
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """List the boards, or describe one."""
        found = [load_board(one) for one in ([name] if name else board_names())]
        if json_:
            facts = [board_facts(board) for board in found]
            typer.echo(json.dumps(facts[0] if name else facts, indent=2))
        elif name:
            typer.echo(describe(found[0]))
        else:
            for board in found:
                typer.echo(f"{board.name:<14}{board.title:<40}{board.isa[board.kernels]:<18}{memory_text(board)}")
