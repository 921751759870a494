# SPDX-License-Identifier: Apache-2.0
"""A lock file a board, so that two runs of tests never share one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from pathlib import Path
from types import TracebackType

from host.errors import TargetError

POLL_SECONDS = 0.2


class BoardLock:
    """Held from entering to leaving, or until this process ends. wait: seconds to wait for another one to release it.

    Raises TargetError that names the process that holds the board.
    """

    def __init__(self, port: str, wait: float = 0.0) -> None:
        self._port = port
        self._wait = wait
        name = port if "://" in port else os.path.realpath(port)
        self._path = Path(tempfile.gettempdir()) / f"hartspeak-{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
        self._file = -1

    def __enter__(self) -> BoardLock:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # another user's: it can be locked all the same
            self._file = os.open(self._path, os.O_RDONLY)
        end = time.monotonic() + self._wait
        while not self._try():
            if time.monotonic() >= end:
                raise self._busy()
            time.sleep(POLL_SECONDS)
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
        os.close(self._file)
        return TargetError(
            f"{self._port} is in use by process {holder}, another run of tests; wait for its end (--board-wait SECONDS "
            "does) or end it"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
