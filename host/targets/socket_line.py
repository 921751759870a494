# SPDX-License-Identifier: Apache-2.0
"""``socket://HOST:PORT``: raw bytes over TCP. pyserial's own drops what arrives while it opens."""

from __future__ import annotations

import select
import socket

from host.errors import TargetError
from host.targets.base import Target
from host.targets.hooks import Hooks
from host.targets.spec import TargetSpec, split_address

CONNECT_SECONDS = 10.0
WRITE_SECONDS = 30.0
CHUNK = 1 << 16


class SocketTarget(Target):
    """A board behind a TCP port: firmware on Linux, ser2net, a simulator. Raises TargetError."""

    hint = "press reset, or look whether another host has it open"

    def __init__(self, spec: TargetSpec, hooks: Hooks) -> None:
        self.description = spec.port
        self._hooks = hooks
        self._reason = ""
        try:
            self._socket = socket.create_connection(split_address(spec), CONNECT_SECONDS)
        except OSError as error:
            raise TargetError(
                f"{spec.port} cannot be opened: {error.strerror or error}. Is the other end listening? "
                "`firmware --image FILE --tcp 0.0.0.0:PORT` does on Linux boards"
            ) from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(WRITE_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as reading and writing has told."""
        return self._socket.fileno() >= 0 and not self._reason

    @property
    def exit_reason(self) -> str:
        """Why it is not."""
        return self._reason

    def read(self, timeout: float) -> bytes:
        """What has arrived; see Target."""
        try:
            if not select.select([self._socket], [], [], max(0.0, timeout))[0]:
                return b""
            data = self._socket.recv(CHUNK)
        except (OSError, ValueError) as error:
            raise self._gone(error) from None
        if not data:
            raise self._gone(ConnectionError("the other end closed the connection"))
        return data

    def write(self, data: bytes) -> None:
        """Send all of it; see Target."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._gone(error) from None

    def _gone(self, error: Exception) -> TargetError:
        # select() calls a closed socket's descriptor a ValueError.
        closed = isinstance(error, ValueError)
        self._reason = "it is closed" if closed else getattr(error, "strerror", None) or str(error)
        return TargetError(f"{self.description} went away: {self._reason}. Is the board powered, the network up?")

    def reset(self) -> None:
        """Run the reset command; see Target."""
        self._hooks.reset(self.description)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
