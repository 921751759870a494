# SPDX-License-Identifier: Apache-2.0
"""The user's cache: where what was fetched or packed is kept, and why it is believed when it is used again.

A file in the cache is trusted by its hash only. Hashing a model takes seconds, so the hash that was verified stands
beside what the file system says of the file at that moment (size, times, inode); when any of it differs, or somebody
else may write there, the hash is taken again or the file is refused.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from host.errors import HostError

PRIVATE = 0o700
STAMP = ".verified"
MAX_STAMP_BYTES = 4096


def cache_directory() -> Path:
    """Where models, tools and packed images are kept; ``HARTSPEAK_CACHE`` overrides the user's cache directory."""
    return Path(os.environ.get("HARTSPEAK_CACHE") or user_cache_path("hartspeak"))


def _distrust(path: Path, found: os.stat_result) -> str | None:
    """Why somebody else may have written a file or folder; None where nobody may. Windows has no such numbers."""
    if not hasattr(os, "getuid"):
        return None
    if found.st_uid not in (os.getuid(), 0):
        return f"{path} belongs to another user (number {found.st_uid})"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(found.st_mode):
        return f"{path} may be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return None


def check_owner(path: Path) -> None:
    """Raise HostError where a file or folder of the cache may have been written by somebody else."""
    if reason := _distrust(path, path.stat()):
        raise HostError(
            f"{reason}, so what lies there is not trusted; remove it, take the right away with chmod go-w, or name "
            "another cache with HARTSPEAK_CACHE"
        )


def private_folder(path: Path) -> Path:
    """A folder of the cache, made where it is not there. Raises HostError where others may write to it or above it.

    Every folder from the cache's root down to ``path`` is looked at.
    """
    for folder in (*reversed(path.parents), path):  # mkdir(parents=True) would give those above the umask's mode
        folder.mkdir(mode=PRIVATE, exist_ok=True)
    top = cache_directory()
    for folder in (path, *path.parents):
        check_owner(folder)
        if folder == top or top not in folder.parents:
            break
    return path


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """An empty folder in a private folder of the cache, for what is not whole yet; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".part-", dir=private_folder(beside)) as folder:
        yield Path(folder)


def _stamp(path: Path, identity: str) -> dict[str, object]:
    """What the file system says of a file, beside what is known of its contents. The change time cannot be set back."""
    found = path.stat()
    return {
        "identity": identity,
        "size": found.st_size,
        "modified": found.st_mtime_ns,
        "changed": found.st_ctime_ns,
        "inode": found.st_ino,
    }


def _stamp_path(path: Path) -> Path:
    return path.parent.parent / f"{path.parent.name}-{path.name}{STAMP}"


def remember(path: Path, identity: str) -> None:
    """Keep that a file has just been verified to be ``identity``, a hash in hexadecimal."""
    with scratch_folder(path.parent.parent) as folder:
        part = folder / "stamp"
        part.write_text(json.dumps(_stamp(path, identity)))
        part.replace(_stamp_path(path))


def remembered(path: Path) -> tuple[str, bool]:
    """The hash that a file was verified to have once ("" if never), and whether it has not been touched since."""
    stamp = _stamp_path(path)
    try:
        if not stat.S_ISREG(stamp.lstat().st_mode) or _distrust(stamp, stamp.lstat()):
            return "", False
        with stamp.open() as file:
            kept = json.loads(file.read(MAX_STAMP_BYTES))
        identity = kept["identity"]
        return (identity, kept == _stamp(path, identity)) if isinstance(identity, str) else ("", False)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", False


def is_kept(path: Path, identity: str, take: Callable[[Path], str]) -> bool:
    """Whether a file in the cache is there and is ``identity``: by its stamp, else by ``take``, which hashes it.

    Raises HostError where others may write to it or to its folders.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not identity or not stat.S_ISREG(mode):
        return False
    private_folder(path.parent)
    check_owner(path)
    if remembered(path) == (identity, True):
        return True
    if take(path) != identity:
        return False
    with suppress(OSError):  # a cache that may only be read is hashed each time
        remember(path, identity)
    return True


def forget(path: Path) -> None:
    """Remove a file or folder of the cache, and what was remembered of it."""
    _stamp_path(path).unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
