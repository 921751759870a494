# SPDX-License-Identifier: Apache-2.0
"""Every file that a command writes: beside its name first, then in its place, and nothing foreign is replaced.

A rename replaces whatever has the name: a device node, a FIFO, a link, somebody's file. So what exists is looked at
first, and what is written has another name until it is whole.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from host.errors import UsageError


def check_output(
    path: Path,
    ours: Callable[[Path], bool] | None = None,
    force: bool = False,
    flag: str = "-o",
    way: str = "give --force",
    instead: str = "name a file",
) -> None:
    """Raise UsageError where ``path`` must not be written: before anything long is begun.

    It must be new or a regular file. An existing file must be ``ours`` (the same product) unless ``force``.
    ``flag`` is the option that named it, and ``way`` what overrides this check, for the message;
    ``instead`` is what to do where the name is a device's or the like.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise UsageError(f"{flag} {path}: there is no folder {path.parent}; make it first") from None
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag} {path}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{flag} {path} is a directory; name a file in it")
    if stat.S_ISLNK(mode):
        raise UsageError(f"{flag} {path} is a link; name the file that it points to, {os.path.realpath(path)}")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{flag} {path} is {_kind(mode)}, no file: it would be replaced; {instead}")
    if ours is not None and not force and not ours(path):
        raise UsageError(f"{flag} {path} exists and is nothing that this command makes; move it away, or {way}")


def begins_with(*magic: bytes) -> Callable[[Path], bool]:
    """Whether a file begins with one of these bytes: for ``check_output``. An empty one is no loss."""

    def ours(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                start = file.read(max(map(len, magic), default=1))
        except OSError:
            return False
        return not start or start.startswith(magic)

    return ours


def open_log(path: Path, first: str, flag: str = "--log") -> TextIO:
    """A text file to write to line by line, begun with the line ``first``; a device or FIFO is written as it is.

    Raises UsageError where it cannot be opened, and where a file is there that did not begin so.
    """
    try:
        if path.is_file():
            ours = begins_with(first.encode())
            check_output(Path(os.path.realpath(path)), ours, flag=flag, way="name another file")
        file = path.open("w", encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write {path}: {words}; choose another file for {flag}") from error
    print(first, file=file, flush=True)
    return file


def _kind(mode: int) -> str:
    kinds = {stat.S_IFCHR: "a device", stat.S_IFBLK: "a disk", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "something special")


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A new file beside ``path`` to write to; it takes ``path``'s place when the block ends well, and is removed else.

    ``mode`` is cut by the umask, as for any file. ``check_output`` stands before it.
    """
    umask = os.umask(0)
    os.umask(umask)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        part.chmod(mode & ~umask)
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
