# SPDX-License-Identifier: Apache-2.0
"""A pseudo terminal that stands for the serial device of a board, with a stream behind it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import tty
from collections.abc import Callable

from host.link.stream import ByteStream

TICK_SECONDS = 0.002
CHUNK = 4096


class PtyLine:
    """``path`` can be opened as a serial device, again and again, while ``run`` passes bytes on."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        # The other end stays open here, too, so that the line outlives each of its hosts.
        self._master, self._slave = pty.openpty()
        os.set_blocking(self._master, False)
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Pass bytes on until ``stopped()``. Raises TargetError when the stream ends."""
        while not stopped():
            if select.select([self._master], [], [], 0)[0]:
                self._stream.write(os.read(self._master, CHUNK))
            data = self._stream.read(TICK_SECONDS)
            while data and not stopped():
                data = data[self._give(data) :]

    def _give(self, data: bytes) -> int:
        """Bytes that the host's end had room for: nobody need have it open."""
        if not select.select([], [self._master], [], TICK_SECONDS)[1]:
            return 0
        with contextlib.suppress(BlockingIOError):
            return os.write(self._master, data)
        return 0

    def close(self) -> None:
        """Remove the device and close the stream."""
        os.close(self._master)
        os.close(self._slave)
        self._stream.close()
