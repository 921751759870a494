# SPDX-License-Identifier: Apache-2.0
"""Whether an image suits the board that it is meant for: by its manifest, the layout of its weights and its plan.

Every image runs on every board that has the memory, with the same bits; one that was packed for another board may be
slow there, and is most likely a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass

from host.boards import Board
from host.errors import FitError, ImageError
from host.image.inspect import size_text
from host.image.reader import Image
from host.words import shown

LAYOUTS = ("rvv", "swar")


@dataclass(frozen=True)
class Facts:
    """What an image says of where it belongs. board and layout are empty where it does not say."""

    board: str
    layout: str
    arena: int
    bytes: int


def image_facts(image: Image) -> Facts:
    """From its manifest, which its hashes cover, and its plan."""
    board, layout = (image.manifest.get(key) for key in ("board", "layout"))
    plan = image.plan
    return Facts(
        shown(board, 60) if isinstance(board, str) else "",
        layout if isinstance(layout, str) and layout in LAYOUTS else "",
        int(plan["arena_bytes"]) + int(plan["runtime_bytes"]),
        image.path.stat().st_size,
    )


def check_board(image: Image, board: Board, kernels: str = "") -> None:
    """For what is written for this board: its medium, its build. ``kernels``: the firmware's, else the board's own.

    Raises ImageError for another board's image or layout, FitError where it takes more memory than there is.
    """
    facts, layout = image_facts(image), board.layout(kernels)
    way = f"pack it for this one: host pack MODEL --board {board.name}"
    if facts.board and facts.board != board.name:
        raise ImageError(
            f"{image.path} was packed for board {facts.board}, not for {board.name}; {way}; or name {facts.board} "
            "as the board, if it is one"
        )
    if facts.layout and facts.layout != layout:
        raise ImageError(
            f"{image.path} has its weights in the order of {facts.layout} kernels, {board.name} runs "
            f"{kernels or board.kernels} ones, which want {layout}; {way} --layout {layout}"
        )
    check_memory(image, board.name, board.arena_bytes, board.image_limit)


def check_memory(image: Image, name: str, arena: int, area: int | None) -> None:
    """Raise FitError where ``name`` has too small an arena, or too little room for the image; bytes, None: no limit."""
    facts = image_facts(image)
    less = "pack with a shorter --context, fewer --sessions or --kv int8"
    wants: list[tuple[int, int | None, str, str]] = [(facts.arena, arena, "activations and state take", less)]
    wants.append((facts.bytes, area, "the image takes", "pack with --weights q4, or take a smaller model"))
    for used, limit, what, hint in wants:
        if limit is not None and used > limit:
            raise FitError(
                f"{image.path} does not fit {name}: {what} {size_text(used)}, it has {size_text(limit)}, "
                f"{size_text(used - limit)} too little; {hint}"
            )
