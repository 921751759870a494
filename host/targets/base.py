# SPDX-License-Identifier: Apache-2.0
"""The byte stream that the link talks over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType


class Target(ABC):
    """One open target. ``read`` and ``write`` raise TargetError, with the log's tail, when the other end is gone."""

    description: str
    """What messages call it, e.g. ``qemu-virt (QEMU, 4 harts)`` or ``/dev/ttyUSB0 at 115200``."""

    hint: str = ""
    """What helps when the target does not answer; empty for a simulator, which will answer once it has started."""

    @abstractmethod
    def read(self, timeout: float) -> bytes:
        """Return what has arrived, waiting up to ``timeout`` seconds for the first byte; empty when there was none."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of it."""

    @abstractmethod
    def close(self) -> None:
        """End the connection and whatever was started for it. May be called twice."""

    @abstractmethod
    def reset(self) -> None:
        """Restart the device as its button would; the stream goes on with what it says then.

        Raises TargetError where it cannot be done from here.
        """

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether the other end is still there, as far as this end can tell."""

    @property
    def exit_reason(self) -> str:
        """Why the target is no longer alive, in words; empty while it is alive."""
        return ""

    @property
    def log_tail(self) -> str:
        """The last lines that the target wrote beside the byte stream."""
        return ""

    def __enter__(self) -> Target:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
