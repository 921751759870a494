# SPDX-License-Identifier: Apache-2.0
"""A board on a serial device, or on whatever other pyserial URL (``rfc2217://``)."""

from __future__ import annotations

import contextlib
import errno
import os
import time

import serial
from serial.tools.list_ports import comports

from host.errors import TargetError
from host.targets.base import Target
from host.targets.hooks import Hooks
from host.targets.spec import TargetSpec

FAILURES: tuple[type[Exception], ...] = (serial.SerialException, OSError, TypeError, ValueError)
"""What pyserial raises: TypeError where the line is closed and has no file descriptor, ValueError for some rates."""
if os.name == "posix":
    import termios

    FAILURES = (*FAILURES, termios.error)

RETURN_SECONDS = 15.0
"""For which an adapter that was switched off with its board may be away."""
RETURN_POLL_SECONDS = 0.1
READ_SECONDS = 0.02
"""Of one look; a change of it would set up the line anew, over RFC 2217 by asking the other end."""
HINTS = {
    errno.ENOENT: "No such device: `host ports` lists those there are; is it plugged in?",
    errno.EACCES: "No permission: join the group that owns it (sudo usermod -aG dialout $USER), then log in again",
    errno.EBUSY: "Another program has it open; close that first",
    errno.EAGAIN: "Another program has it open; close that first",
    errno.ENOTTY: "That is no serial device; `host ports` lists them",
}


def adapter_of(port: str) -> str:
    """What tells a USB adapter in its socket from all others, serial number and place; empty for other ports."""
    path = os.path.realpath(port)
    return next((str(one.hwid) for one in comports() if one.device == path and one.vid is not None), "")


def port_of(adapter: str, port: str) -> str:
    """Where an adapter is now; ``port`` where it is not seen.

    One that was plugged in again while its line was still open here has another number.
    """
    return next((str(one.device) for one in comports() if adapter and one.hwid == adapter), port)


class SerialTarget(Target):
    """8N1 without flow control: the protocol's credits do that. Raises TargetError."""

    hint = "press reset, or check the baud rate"

    def __init__(self, spec: TargetSpec, hooks: Hooks) -> None:
        url = "://" in spec.port
        self.bauds = not spec.port.startswith("socket://")
        """Whether ``set_baud`` means anything."""
        self.description = spec.port if url else f"{spec.port} at {spec.baud}"
        self._hooks = hooks
        self._reason = ""
        try:
            self._line = serial.serial_for_url(spec.port, do_not_open=True)
            self._line.baudrate = spec.baud
            self._line.exclusive = None if url else True
            self._line.timeout = READ_SECONDS
            if not url:
                self._line.write_timeout = 30
            self._line.open()
        except FAILURES as error:
            raise TargetError(f"{self.description} cannot be opened: {_words(error)}. {_hint(error, url)}") from None

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
        end = time.monotonic() + timeout
        try:
            while not (data := bytes(self._line.read(max(1, self._line.in_waiting)))) and time.monotonic() < end:
                pass
            return data
        except FAILURES as error:
            raise self._gone(error) from None

    def write(self, data: bytes) -> None:
        """Send all of it; see Target."""
        try:
            self._line.write(data)
            self._line.flush()
        except FAILURES as error:
            raise self._gone(error) from None

    def set_baud(self, baud: int) -> None:
        """Change the rate, once all has been sent. TargetError where the device cannot."""
        try:
            self._line.baudrate = baud
        except FAILURES as error:
            raise self._gone(error) from None

    @property
    def baud(self) -> int:
        """Bits a second."""
        return int(self._line.baudrate)

    def _gone(self, error: Exception) -> TargetError:
        self._reason = _words(error)
        return TargetError(f"{self.description} went away: {self._reason}. Is it plugged in and powered?")

    def reset(self) -> None:
        """Run the reset command; an adapter that lost its power, too, is opened again. See Target."""
        self._hooks.reset(self.description)
        end = time.monotonic() + RETURN_SECONDS
        while not self._is_there():
            if time.monotonic() > end:
                raise TargetError(f"{self.description} has not come back within {RETURN_SECONDS:g} s of its reset")
            self._line.close()
            time.sleep(RETURN_POLL_SECONDS)
            with contextlib.suppress(*FAILURES):
                self._line.open()

    def _is_there(self) -> bool:
        try:
            return int(self._line.in_waiting) >= 0
        except FAILURES:
            return False

    def close(self) -> None:
        """Close the line."""
        self._line.close()


def _number(error: Exception) -> int:
    """The system's number of an error, also where pyserial has only kept its words; 0 without a positive one."""
    causes = [*error.args[:1], *getattr(error.__context__, "args", ())[:1]]
    return next((number for number in causes if isinstance(number, int) and number > 0), 0)


def _words(error: Exception) -> str:
    number = _number(error)
    return "it is closed" if isinstance(error, TypeError) else os.strerror(number) if number else str(error)


def _hint(error: Exception, url: bool) -> str:
    if url:
        return "Does a server listen there (ser2net, a labgrid exporter), and is it rfc2217://HOST:PORT?"
    return HINTS.get(_number(error), "`host ports` lists the devices; close other programs that use it")
