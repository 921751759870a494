# SPDX-License-Identifier: Apache-2.0
"""The firmware as a program of this machine."""

from __future__ import annotations

from pathlib import Path

from host.boards import load_board
from host.places import build_root
from host.targets.simulators import firmware_files


def native_program() -> Path:
    """Where ``board=native`` with its own kernels is built; not built here."""
    board = load_board("native")
    return firmware_files(board, board.kernels, build_root()).program
