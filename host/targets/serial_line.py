# SPDX-License-Identifier: Apache-2.0
"""A board on a serial device, or whatever a pyserial URL names (``socket://``, ``rfc2217://``)."""

from __future__ import annotations

import serial

from host.errors import TargetError
from host.targets.base import Target
from host.targets.spec import TargetSpec


class SerialTarget(Target):
    """8N1 without flow control: the protocol's credits do that."""

    def __init__(self, spec: TargetSpec) -> None:
        url = "://" in spec.port
        self.description = spec.port if url else f"{spec.port} at {spec.baud}"
        self._reason = ""
        try:
            self._line = serial.serial_for_url(spec.port, do_not_open=True)
            self._line.baudrate = spec.baud
            self._line.exclusive = None if url else True
            self._line.timeout = 0
            self._line.write_timeout = 30
            self._line.open()
        except (serial.SerialException, OSError, ValueError) as error:
            raise TargetError(f"{self.description} cannot be opened: {error}. {_hint(url)}") from None

    @property
    def alive(self) -> bool:
        """Whether the line is open and has not failed."""
        return bool(self._line.is_open) and not self._reason

    @property
    def exit_reason(self) -> str:
        """What the line failed with."""
        return self._reason

    def read(self, timeout: float) -> bytes:
        """What has arrived; see Target."""
        try:
            self._line.timeout = timeout
            data: bytes = self._line.read(1)
            if data:
                self._line.timeout = 0
                data += self._line.read(4096)
            return data
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._gone(error) from None

    def write(self, data: bytes) -> None:
        """Send all of it; see Target."""
        try:
            self._line.write(data)
            self._line.flush()
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._gone(error) from None

    def _gone(self, error: Exception) -> TargetError:
        self._reason = str(error)
        return TargetError(f"{self.description} went away: {error}. Is it plugged in and powered?")

    def close(self) -> None:
        """Close the line."""
        self._line.close()


def _hint(url: bool) -> str:
    if url:
        return "Is the other end listening? `firmware --image FILE --tcp 0.0.0.0:PORT` does on Linux boards"
    return "`host ports` lists the devices; no permission: join the group dialout; busy: close the other program"
