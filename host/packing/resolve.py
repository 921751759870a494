# SPDX-License-Identifier: Apache-2.0
"""An image by the name that a user gives: a file, or what is packed now from a recipe or model file, and kept."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from host.boards import load_board
from host.cache import forget, is_kept, private_folder, remember, remembered
from host.errors import SourceError, UsageError
from host.files.recipe import cache_folder, find_recipe
from host.image.reader import identity, whole_identity
from host.image.writer import HASH
from host.ops import OPS
from host.packing.pack import SUFFIX, PackRequest, tool_version
from host.packing.shown import pack_image
from host.schema.image import MAGIC, VERSION_MAJOR, VERSION_MINOR
from host.targets import parse_spec
from host.words import file_name


def resolve_image(name: str, target: str, board: str | None = None) -> Path:
    """The image that a user names by its path, or packs now from a recipe or model file, for the target's board.

    What was packed is kept in the user's cache and used again while recipe, files and version are the same.
    """
    path = Path(name)
    if board:
        load_board(board)
    if path.suffix == SUFFIX or _is_image(path):
        return path
    spec = parse_spec(target)
    board = board or spec.board
    if not board:
        raise UsageError(f"{name} must be packed first, but {target} does not tell for which board; add --board")
    known = load_board(board)
    layout = known.layout(spec.kernels) if spec.kernels in known.kernel_names else None
    ops = " ".join(f"{op.id}.{op.version}" for op in OPS.values())
    made_by = f"{tool_version()}, image format {VERSION_MAJOR}.{VERSION_MINOR}, {HASH.name}, ops {ops}"
    key = hashlib.sha256(f"{made_by} {_fingerprint(name)} {board} {layout}".encode())
    out = cache_folder() / "images" / f"{file_name(path.stem)}.{board}.{key.hexdigest()[:12]}{SUFFIX}"
    if not is_kept(out, remembered(out)[0], whole_identity):
        private_folder(out.parent)
        forget(out)
        pack_image(PackRequest(source=name, board=board, layout=layout), out)
        remember(out, identity(out))
    return out


def _is_image(path: Path) -> bool:
    """Whether a file begins as an image does. SourceError where it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _fingerprint(name: str) -> str:
    """The recipe's contents, and path, time and size of the file or of each file in the folder."""
    recipe = find_recipe(name)
    path = recipe.path if recipe else Path(name)
    files = [] if path is None else sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.resolve(), file.stat()) for file in files if file.is_file()]
    said = [(str(file), s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_size) for file, s in stats]
    return f"{recipe} {said}"
