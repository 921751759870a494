# SPDX-License-Identifier: Apache-2.0
"""What the link needs of a target: a byte stream. Above it nothing knows whether it is a board or a simulator."""

from __future__ import annotations

from typing import Protocol, TypeGuard, runtime_checkable


class ByteStream(Protocol):
    """The two ways of a line. Every method raises TargetError, with the log's tail, when the other end is gone."""

    @property
    def description(self) -> str:
        """What messages call it, e.g. "qemu-virt (QEMU, 4 harts)" or "/dev/ttyUSB0 at 115200"."""

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, waiting up to ``timeout`` seconds for the first byte; empty when there was none."""

    def write(self, data: bytes) -> None:
        """Send all of it."""

    def close(self) -> None:
        """End the connection and whatever was started for it. May be called twice."""


@runtime_checkable
class SerialStream(ByteStream, Protocol):
    """A line whose rate this end can change, where ``bauds`` is true."""

    bauds: bool

    @property
    def baud(self) -> int:
        """Bits a second."""

    def set_baud(self, baud: int) -> None:
        """Change them, once all has been sent."""


def has_rate(stream: ByteStream) -> TypeGuard[SerialStream]:
    """Whether this end can change the rate of a line."""
    return isinstance(stream, SerialStream) and stream.bauds
