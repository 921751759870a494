# SPDX-License-Identifier: Apache-2.0
"""Writing a medium: a disk image in a file, or a card in a reader, which must be nobody's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from host.errors import HostError, UsageError

MIB = 1 << 20
Progress = Callable[[str, int], None]
"""Called with what is being done and the bytes of it that are done."""


@dataclass(frozen=True)
class Disk:
    """A block device that may be written: bytes, and what it calls itself."""

    path: Path
    size: int
    model: str


def is_device(path: Path) -> bool:
    """Whether it is a block device."""
    return path.exists() and stat.S_ISBLK(path.stat().st_mode)


def find_disk(path: Path, root: Path = Path("/")) -> Disk:
    """The disk at ``path``. Raises UsageError for a partition, and for a disk that this machine uses in any way.

    root: where /sys and /proc lie, for tests.
    """
    name = os.path.realpath(path).rsplit("/", 1)[-1]
    about = root / "sys/class/block" / name
    if not about.is_dir():
        raise UsageError(f"{path}: this system does not say what it is; write a file (--medium disk.img) and copy that")
    if (about / "partition").exists():
        raise UsageError(f"{path} is a partition: give the whole disk, for a partition table is written")
    if used := _uses(about, name, root):
        raise UsageError(f"{path} is in use ({used}): unmount it first, and look twice whether it is the right disk")
    if _read(about / "ro") == "1":
        raise UsageError(f"{path} is write-protected: see the card's switch")
    size = int(_read(about / "size") or 0) * 512
    if not size:
        raise UsageError(f"{path} has no medium in it")
    return Disk(path, size, _read(about / "device/model") or _read(about / "device/name") or "no name")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _uses(about: Path, name: str, root: Path) -> str:
    """How the disk or a partition of it is used; empty if it is not."""
    names = [name, *(part.parent.name for part in about.glob("*/partition"))]
    tables = _read(root / "proc/mounts") + "\n" + _read(root / "proc/swaps")
    for line in tables.splitlines():
        source = os.path.realpath(line.split(" ")[0]).rsplit("/", 1)[-1]
        if line.startswith("/dev/") and source in names:
            return f"/dev/{source} is mounted or swapped to: {' '.join(line.split()[:2])}"
    for part in names:
        folder = about if part == name else about / part
        if holders := sorted(entry.name for entry in folder.glob("holders/*")):
            return f"/dev/{part} is part of {holders[0]}"
    return ""


def write_chunks(path: Path, chunks: Iterable[tuple[int, bytes]], progress: Progress | None = None) -> int:
    """Write (offset, bytes) to a file or disk that exists and read them back. Returns the bytes written.

    Raises HostError where writing fails, and where something else is read than was written.
    """
    done, kept = 0, []
    try:
        with path.open("r+b", buffering=0) as file:
            for offset, piece in chunks:
                file.seek(offset)
                if file.write(piece) != len(piece):
                    raise HostError(f"{path}: nothing can be written at byte {offset}: the medium is full or broken")
                kept.append((offset, len(piece), hash(piece)))
                done += len(piece)
                if progress:
                    progress("writing", done)
            os.fsync(file.fileno())
        _read_back(path, kept, progress)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}; see whether you may write to it, and the card's contacts") from None
    return done


def _read_back(path: Path, kept: Iterable[tuple[int, int, int]], progress: Progress | None) -> None:
    done = 0
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for offset, size, value in kept:
            file.seek(offset)
            if hash(file.read(size)) != value:
                raise HostError(f"{path}: byte {offset} and more is read back otherwise: the medium is broken")
            done += size
            if progress:
                progress("reading back", done)
