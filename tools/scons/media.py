# SPDX-License-Identifier: Apache-2.0
"""What goes onto the medium of a board that U-Boot starts: scripts, and with model= a FIT and a disk image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from SCons.Action import Action

from host.medium import uboot
from host.places import PACKAGE
from tools.scons.options import Options
from tools.scons.variant import near, short_line


def write_script(target: list[Any], source: list[Any], env: Any) -> int:  # noqa: ARG001
    """Action: boot.scr for the disk, or boot-tftp.scr."""
    path, board = Path(str(target[0])), env["OPTIONS"].board
    text = uboot.tftp_script(board) if "tftp" in path.name else uboot.disk_script(board)
    path.write_bytes(uboot.script_image(text, f"hartspeak {board.name}"))
    return 0


def write_fit(target: list[Any], source: list[Any], env: Any) -> int:
    """Action: the FIT of firmware.bin and the model."""
    firmware, model = (Path(str(node)).read_bytes() for node in source[:2])
    Path(str(target[0])).write_bytes(uboot.fit_image(env["OPTIONS"].board, firmware, model))
    return 0


def write_disk(target: list[Any], source: list[Any], env: Any) -> int:
    """Action: the disk image of firmware.bin and the model."""
    firmware, model = (Path(str(node)) for node in source[:2])
    uboot.write_boot_disk(Path(str(target[0])), env["OPTIONS"].board, firmware.parent, model)
    return 0


def add(env: Any, options: Options, built: list[Any], model: Any) -> None:
    """The files of a board whose loader is U-Boot, as default targets."""
    if options.board.loader != "u-boot":
        return
    binary = next(node for node in built if str(node).endswith("firmware.bin"))
    line = short_line(env, "MEDIA") or None
    # The board with dram= applied is part of every text.
    board = env.Value(str(options.board))
    made = []
    for name in ("boot.scr", "boot-tftp.scr"):
        sources = [near(PACKAGE / "medium/uboot.py"), board]
        made += env.Command(options.place(name), sources, Action(write_script, line), OPTIONS=options)
    if model is not None:
        code = [near(PACKAGE / f"medium/{name}.py") for name in ("uboot", "disk", "fat", "selector")]
        sources = [binary, model, *(node for node in built if str(node).endswith("selector.bin")), *code, board]
        made += env.Command(options.place("firmware.itb"), sources, Action(write_fit, line), OPTIONS=options)
        made += env.Command(options.place("disk.img"), sources, Action(write_disk, line), OPTIONS=options)
    env.Default(made)
