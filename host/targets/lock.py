# SPDX-License-Identifier: Apache-2.0
"""A lock file a board, so that two runs of tests never share one.

It lies in a folder that only this user can write to: in a folder for all, somebody else's link of that name would have
us write to whatever it points to.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from types import TracebackType

from host.errors import TargetError

POLL_SECONDS = 0.2


class BoardLock:
    """Held from entering to leaving, or until this process ends. wait: seconds to wait for another one to release it.

    Raises TargetError that names the process that holds the board, and where the user's folder is not the user's.
    """

    def __init__(self, port: str, wait: float = 0.0) -> None:
        self._port = port
        self._wait = wait
        name = port if "://" in port else os.path.realpath(port)
        self._name = f"{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}.lock"
        self._file = -1

    def __enter__(self) -> BoardLock:
        path = lock_folder() / self._name
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TargetError(f"{path}: {error.strerror}; remove it, it should be a lock file of ours") from None
        try:
            end = time.monotonic() + self._wait
            while not self._try():
                if time.monotonic() >= end:
                    raise self._busy()
                time.sleep(POLL_SECONDS)
        except BaseException:
            os.close(self._file)
            raise
        with contextlib.suppress(OSError):
            os.truncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        return self

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _busy(self) -> TargetError:
        holder = os.pread(self._file, 32, 0).decode(errors="replace") or "?"
        return TargetError(
            f"{self._port} is in use by process {holder}, another run of tests; wait for its end (--hart-board-wait "
            "SECONDS does) or end it"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def lock_folder() -> Path:
    """The user's folder for locks, made where it is not there. Raises TargetError where it is somebody else's."""
    folder = Path(tempfile.gettempdir()) / f"hartspeak-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise TargetError(
            f"{folder} is no folder that only you can use, so no board can be locked there; remove it, or set TMPDIR"
        )
    return folder
