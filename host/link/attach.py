# SPDX-License-Identifier: Apache-2.0
"""How a host finds a device on its line: it says HELLO until the device answers and has checked its image."""

from __future__ import annotations

import secrets
from typing import Any

from host.errors import DeviceFaulty, TargetError
from host.link import limits
from host.link.connection import POLL_SECONDS, Connection
from host.link.device import KnownDevice
from host.link.frames import Damaged, Frame
from host.link.line import Line
from host.link.records import DeviceInfo
from host.schema.wire.constants import VERSION_MAX, VERSION_MIN
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState, Hello, HelloReply

HELLO_SECONDS = 0.5
LOADER_SECONDS = 3.0
"""Of silence after words of another program before the next HELLO; a device that is ready announces itself."""
CHECKING_SECONDS = 1.0
"""Between two questions whether the image has been checked."""
HELLO_HEAD = 10
"""Bytes of HELLO_REPLY that are the same in all versions."""


class Attachment:
    """Says HELLO on a connection, and keeps what the device answers in ``device``."""

    def __init__(self, line: Line, connection: Connection, device: KnownDevice) -> None:
        self._line = line
        self._connection = connection
        self._device = device
        self._nonce = 0
        self._reply: Frame | None = None
        """The answer to our HELLO."""
        self._announced = False
        """Whether a device has announced itself since we are silent."""
        self._overtaken = False
        """Whether the device has announced itself behind its answer, which says no longer what it does."""
        self._overheard: set[int] = set()
        """Types of the frames that were no answer to our HELLO."""

    def attach(self, timeout: float) -> None:
        """Say hello in a new epoch until the device answers and has checked its image; see ``Client.connect``."""
        self._connection.begin()
        self._nonce = secrets.randbits(32)
        self.greet(timeout)
        self.await_check()

    def await_check(self) -> None:
        """Wait while the device says that it checks its image, for as long as that can take."""
        device, began = self._device, self._line.spent()
        while device.info.state == DeviceState.CHECKING:
            most, waited = device.check_seconds(), self._line.spent() - began
            if waited > most:
                size = device.checked_bytes >> 20
                raise DeviceFaulty(
                    f"{self._line.stream.description} has been checking its image for {waited:.0f} s, and {size} MiB "
                    f"take no more than {most:.0f} s: reset it; where it is that slow, a longer --patience waits longer"
                )
            self._line.tell("the device checks the image's hashes", began)
            if not self._overtaken:
                self._connection.read(CHECKING_SECONDS)
            self.greet(device.patience)

    def greet(self, timeout: float) -> None:
        """Say hello in this epoch until the device answers. TargetError where it does not; see ``Client.connect``."""
        line, told = self._line, self._line.spent()
        line.heard = began = line.now()
        self._overheard.clear()
        self._reply, self._overtaken = None, False
        while True:
            self._await_silence(began, timeout)
            self._connection.send_unnumbered(
                Type.HELLO, Hello, nonce=self._nonce, version_min=VERSION_MIN, version_max=VERSION_MAX
            )
            again = line.now() + HELLO_SECONDS
            while (left := again - line.now()) > 0:
                self._listen(min(left, POLL_SECONDS))
                if self._reply:
                    self._accept(self._reply.payload)
                    self._connection.settle()
                    return
                self._tell_missing(told)
            limit, now = self._device.patience if line.booting else timeout, line.now()
            if now - line.heard > limit or now - began > 2 * limit:
                raise TargetError(self._no_answer(now - began))

    def _await_silence(self, began: float, timeout: float) -> None:
        """Say nothing while another program speaks: U-Boot takes any byte for a key that stops its countdown.

        Our firmware's own report ends the silence, and so does an announcement. TargetError where neither comes.
        """
        line = self._line
        self._announced = False
        while not (line.booting or self._announced or self._reply) and line.now() - line.text_at < LOADER_SECONDS:
            self._listen(POLL_SECONDS)
            self._tell_missing(began - line.stopped)
            if line.now() - began > 2 * timeout:
                raise TargetError(self._no_answer(line.now() - began))

    def _listen(self, seconds: float) -> None:
        """Receive, and keep the answer to our HELLO alone."""
        for item in self._line.read(seconds):
            if not isinstance(item, Frame):
                self._line.take(item)
                if isinstance(item, Damaged):
                    self._line.fall_back()
            elif self._is_reply(item):
                self._reply = self._reply or item
            else:
                self._overheard.add(item.type)
                self._announced |= item.type == Type.HELLO_REPLY
                self._overtaken |= item.type == Type.HELLO_REPLY and self._reply is not None

    def _is_reply(self, frame: Frame) -> bool:
        """Whether a frame answers our HELLO; its head is the same in all versions."""
        delivery = self._connection.delivery
        if frame.type != Type.HELLO_REPLY or frame.epoch != delivery.epoch:
            return False
        delivery.credit = frame.credit
        head = HelloReply.parse(frame.payload.ljust(HelloReply.sizeof(), b"\0"))
        if len(frame.payload) < HELLO_HEAD or head.nonce != self._nonce:
            return False
        self._check_version(head)
        return True

    def _check_version(self, head: Any) -> None:
        if head.version_min > VERSION_MAX or head.version_max < VERSION_MIN:
            raise TargetError(
                f"{self._line.stream.description} speaks protocol {head.version_min} to {head.version_max}, this host "
                f"{VERSION_MIN} to {VERSION_MAX}; update the older of host and firmware"
            )

    def _accept(self, payload: bytes) -> None:
        if len(payload) < HelloReply.sizeof():
            raise self._line.faulty(f"sent a HELLO_REPLY of {len(payload)} bytes")
        head = HelloReply.parse(payload)
        values = {name: head[name] for name in DeviceInfo.__dataclass_fields__}
        limits.check_hello(self._line.stream.description, values)
        for name in limits.WORDS:
            values[name] = limits.words_of(values[name])
        values["counters"] = bool(values["counters"])
        values["bauds"] = tuple(baud for baud in values["bauds"] if baud)
        self._device.said = DeviceInfo(**values)
        self._line.failure = ""

    # ---- words ----

    def _tell_missing(self, since: float) -> None:
        """Tell what a HELLO waits for."""
        line, name = self._line, self._line.stream.description
        hint = getattr(line.stream, "hint", "")
        if line.booting or not hint:
            line.tell(f"{name} starts", since)
        elif line.now() - line.text_at < LOADER_SECONDS:
            line.tell(f"another program speaks on {name}, a boot loader perhaps", since)
        else:
            line.tell(f"no answer on {name} yet", since, hint)

    def _no_answer(self, waited: float) -> str:
        line = self._line
        line.flush()
        seen = line.seen()
        start = f"no answer from {line.stream.description} for {waited:.0f} s"
        if Type.HELLO_REPLY in self._overheard:
            return f"{start}, though it announces itself: it does not hear this host; check the wire to its RX"
        if Type.HELLO in self._overheard:
            return f"{start}, but what was sent came back: TX and RX touch one another, or another program echoes"
        if line.decoder.damaged and not line.decoder.frames:
            return f"{start}; bytes came that are no frames: check the baud rate, then the device.\nLast bytes:\n{seen}"
        if seen:
            return (
                f"{start}; it sends text but no frames: another program runs there (a boot loader, a shell, another "
                f"firmware), or the firmware stopped.\nLast lines:\n{seen}"
            )
        return (
            f"{start}, not one byte came; check that it is the right port (host ports), that the board is powered and "
            "the firmware started, and that TX and RX are crossed"
        )
