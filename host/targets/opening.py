# SPDX-License-Identifier: Apache-2.0
"""From ``--target`` to an open byte stream, building the firmware first where it is not there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from host.boards import Board, load_board
from host.errors import TargetError
from host.places import INSTALLED, TREE, build_root, build_words, declaration_files
from host.targets import simulators
from host.targets.base import Target
from host.targets.hooks import Hooks
from host.targets.ports import open_port
from host.targets.spec import TargetSpec, parse_spec


def build_firmware(board: Board, spec: TargetSpec, progress: Callable[[str], None] | None) -> None:
    """Run scons for the variant. Raises TargetError with the compiler's last words."""
    if progress:
        name = board.name if board.chosen else f"{board.name} ({spec.kernels})"
        progress(f"building the firmware for {name}, once: about a minute")
    command = [sys.executable, "-m", "SCons", "-s", f"board={board.name}", f"build={build_root(spec.build)}"]
    command += [] if board.chosen else [f"kernels={spec.kernels}"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    if done.returncode:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise TargetError(f"the firmware for {board.name} could not be built ({build_words(board.name)}):\n{words}")


def is_stale(board: Board, program: Path) -> bool:
    """Whether a source of the firmware is newer than what was built, perhaps with options that must be kept."""
    if INSTALLED:  # each version of the package has a folder of its own
        return False
    parts = [TREE / "firmware", TREE / "linker"]
    sources = [path for part in parts for path in part.rglob("*") if path.suffix in (".c", ".h", ".S", ".in")]
    sources += [board.file, *declaration_files()]
    built = program.stat().st_mtime
    return any(path.stat().st_mtime > built for path in sources if path.is_file())


def open_target(
    spec: str | TargetSpec,
    image: Path | None,
    progress: Callable[[str], None] | None = None,
    hooks: Hooks | None = None,
) -> Target:
    """Open what ``--target`` names; simulators boot with the image, boards have theirs already.

    A missing firmware is built; ``progress`` is told about what takes more than a second; ``hooks`` reset a board.
    Raises TargetError, FitError.
    """
    parsed = parse_spec(spec) if isinstance(spec, str) else spec
    if parsed.place:
        from host.targets.farm import FarmTarget

        return FarmTarget(parsed)
    if parsed.is_line:
        return open_port(parsed, hooks or Hooks(parsed.port))
    board = load_board(parsed.board)
    simulators.check_image(board, image)
    firmware = simulators.firmware_files(board, parsed.kernels, build_root(parsed.build))
    if board.simulator.kind in ("qemu", "u-boot"):
        simulators.qemu_program()
    if not firmware.program.is_file():
        build_firmware(board, parsed, progress)
    elif progress and is_stale(board, firmware.program):
        progress(f"{firmware.program} is older than its sources; {build_words(board.name)} builds it again")
    if board.simulator.kind == "qemu":
        return simulators.open_qemu(board, parsed, firmware, image)
    if board.simulator.kind == "u-boot":
        return simulators.open_u_boot(board, parsed, firmware, image)
    if board.simulator.kind in ("spike", "twin"):
        return simulators.open_spike(board, parsed, firmware, image, progress)
    return simulators.open_hosted(board, parsed, firmware, image)
