# SPDX-License-Identifier: Apache-2.0
"""Whether an image suits a device that answers: by what the device says of its memory, its board and its kernels."""

from __future__ import annotations

from host.boards import board_names, load_board
from host.image.fitness import check_memory, image_facts
from host.image.reader import Image
from host.kernels import families
from host.link.records import DeviceInfo
from host.words import shown


def device_notes(image: Image, info: DeviceInfo) -> list[str]:
    """What to say of an image on a device that answers: another board's name, a layout that is slow there."""
    facts, name = image_facts(image), shown(info.board, 60)
    if facts.layout and facts.layout != device_layout(info):
        return [
            f"{image.path.name} has its weights in the order of {facts.layout} kernels, {name} runs "
            f"{shown(info.kernels, 60)}: the answers are the same, but slower; "
            f"host pack MODEL --board {name if info.board in board_names() else 'BOARD'} is for it"
        ]
    if facts.board and facts.board != info.board:
        return [f"{image.path.name} was packed for {facts.board}; on {name} it fits, too"]
    return []


def check_device(image: Image, info: DeviceInfo) -> list[str]:
    """For an image that a running device is to take: its notes. Raises FitError where the arena is too small."""
    check_memory(image, shown(info.board, 60), info.arena_available, None)
    return device_notes(image, info)


def device_layout(info: DeviceInfo) -> str:
    """The layout that suits a device, from its board's file; from its kernels where it has none here."""
    if info.board in board_names():
        board = load_board(info.board)
        return board.layout(info.kernels if info.kernels in board.kernel_names else "")
    known = families().get(info.kernels)
    return known.layout if known else "rvv"
