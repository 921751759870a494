# SPDX-License-Identifier: Apache-2.0
"""Requests as numbered frames, the frames that answer them, and signs that the device has restarted meanwhile."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from typing import Any

from construct import Struct

from host.errors import DeviceFailure, DeviceFaulty, DeviceRestarted, TargetError
from host.link import limits
from host.link.delivery import Delivery
from host.link.device import KnownDevice
from host.link.frames import Damaged, Frame
from host.link.line import Line
from host.schema.wire import answers, requests
from host.schema.wire.constants import VERSION_MAX
from host.schema.wire.header import Type
from host.schema.wire.payload import is_well_formed

POLL_SECONDS = 0.2
PING_SECONDS = 0.5
"""A device that says nothing for so long while an answer is awaited is asked whether it is there."""
PING_MAX_SECONDS = 5.0
SUSPECT_SECONDS = 1.0
"""A device that seems to have restarted and does not answer for so long has."""


@dataclass
class Suspicion:
    """Signs that the device is no longer the one that was connected.

    since, asked: when the first sign came, and when the device was last asked by PING. announcements: how many
    HELLO_REPLY came unasked; epoch: of the last one.
    """

    since: float
    asked: float = float("-inf")
    announcements: int = 0
    epoch: int = 0


class Connection:
    """One epoch after the other on one line. Frames about a request are kept from ``expect`` to ``forget``."""

    def __init__(self, line: Line, device: KnownDevice) -> None:
        self.line = line
        self.device = device
        self.delivery = Delivery()
        self._expected: set[int] = set()
        """Requests that more frames are awaited for."""
        self._waiting: deque[Frame] = deque()
        self._suspicion: Suspicion | None = None
        self._framed = line.now()
        """When the last frame of this connection came."""
        self._request = secrets.randbits(31)

    def begin(self) -> None:
        """Begin a new epoch; what was under way in the last one is forgotten."""
        self.delivery = Delivery(epoch=1 + secrets.randbelow(0xFFFF))
        self._waiting.clear()
        self._expected.clear()
        self._suspicion = None

    def settle(self) -> None:
        """The device has answered a HELLO: it is there."""
        self._suspicion = None

    # ---- sending ----

    def next_request(self) -> int:
        """An id that no request of this connection has."""
        self._request = (self._request + 1) & 0x7FFFFFFF or 1
        return self._request

    def send(self, kind: Type, struct: Struct, /, tail: bytes = b"", answered: bool = True, **values: Any) -> int:
        """Send one request and return its id; ``answered``: frames about it are kept until ``forget``."""
        request = self.next_request()
        if answered:
            self.expect(request)
        self.line.clear_damage()
        now = self.line.now()
        self.delivery.push(kind, struct.build({"request": request, **values}) + tail, now)
        self.line.write(self.delivery.due(now))
        return request

    def send_unnumbered(self, kind: Type, struct: Struct, /, **values: Any) -> int:
        """Send a request outside the sequence, which may be lost; returns its id."""
        request = self.next_request()
        self.line.write(self.delivery.unnumbered(kind, struct.build({"request": request, **values})))
        return request

    def expect(self, request: int) -> None:
        """Keep frames about a request from now on."""
        self._expected.add(request)

    def forget(self, request: int) -> None:
        """Nothing more is awaited about a request."""
        self._expected.discard(request)

    # ---- receiving ----

    def read(self, timeout: float) -> None:
        """Receive for up to ``timeout`` seconds, keep what is awaited, send what is due."""
        stopped = self.line.stopped
        items = self.line.read(min(timeout, self.delivery.wait(self.line.now())))
        now = self.line.now()
        if self.line.stopped > stopped:
            self._framed = now
            self.delivery.forgive(now)
        out = b""
        for item in items:
            if isinstance(item, Frame):
                out += self._take_frame(item, now)
                continue
            if self.line.take(item) and self.delivery.epoch:
                self._suspicion = self._suspicion or Suspicion(now)
            if isinstance(item, Damaged):
                if self.line.fall_back():
                    self._suspicion = Suspicion(now)
                out += self.delivery.damaged(now)
        self.line.write(out + self.delivery.due(now))
        self._check_suspicion(now)

    def pause(self, seconds: float) -> None:
        """Only receive for so many seconds."""
        end = self.line.now() + seconds
        while (left := end - self.line.now()) > 0:
            self.read(left)

    def _take_frame(self, frame: Frame, now: float) -> bytes:
        """Keep a frame that is awaited; returns what to send at once."""
        if frame.epoch != self.delivery.epoch or frame.version > VERSION_MAX:
            if frame.type == Type.HELLO_REPLY:
                self._suspicion = self._suspicion or Suspicion(now)
                self._suspicion.announcements += 1
                self._suspicion.epoch = frame.epoch
            return b""
        self._suspicion = None
        self.line.clear_damage()
        self._framed = now
        wanted, out = self.delivery.receive(frame, now)
        if wanted and int.from_bytes(frame.payload[:4], "little") in self._expected:
            if not is_well_formed(frame.type, frame.payload):
                raise self.line.faulty(f"sent a message of type {frame.type:#x} that is not as it should be")
            if len(self._waiting) >= limits.MOST_WAITING:
                raise self.line.faulty(f"sent {limits.MOST_WAITING} messages that nobody waits for now")
            self._waiting.append(frame)
        return out

    def _check_suspicion(self, now: float) -> None:
        """Ask by PING whether a device is still there when something says that it is not.

        A device that has restarted does not know this epoch: it announces itself to a host that speaks in it.
        """
        sign, name = self._suspicion, self.line.stream.description
        if sign is None:
            return
        if sign.announcements > 1 or now - sign.since > SUSPECT_SECONDS:
            self._suspicion = None
            if sign.epoch:
                raise TargetError(f"another host has opened {name}; close one of the two")
            why = (
                f"restarted after it had said: {self.line.failure}"
                if self.line.failure
                else "restarted in the middle of the connection, or its terminal was used"
            )
            raise DeviceRestarted(f"{name} {why}; connect again. Last lines:\n{self.line.seen()}")
        if now - max(sign.asked, self.line.text_at) > POLL_SECONDS:
            sign.asked = now
            self._ask_presence()

    def _ask_presence(self) -> None:
        self.send_unnumbered(Type.PING, requests.Ping, value=0)

    # ---- answers ----

    def await_answer(
        self,
        request: int,
        wait: float | None = None,
        since: float | None = None,
        told: tuple[str, float] = ("waiting for the device", 0.0),
    ) -> Frame | None:
        """Wait for the next frame about a request; None when ``wait`` seconds brought none.

        since: ``line.spent()`` when the request had its last result, which is now by default. told: what is waited for
        in words, none for nothing, and ``line.spent()`` when that began, or 0 for now.
        Raises DeviceFailure for ERROR, TargetError when the device went silent or away, DeviceFaulty when it only says
        that it is there for longer than its model's largest step can take.
        """
        line = self.line
        asked = line.heard = self._framed = started = line.now()
        since = line.spent() if since is None else since
        pause = PING_SECONDS
        while True:
            frame = self._pick(request)
            if frame is not None and frame.type == Type.ERROR:
                self.forget(request)
                error = answers.Error.parse(frame.payload)
                raise DeviceFailure(error.code, error.detail)
            if frame is not None:
                return frame
            now = line.now()
            if wait is not None and now - started > wait:
                return None
            if max(now - self._framed, self.delivery.stalled(now)) > self.device.patience:
                raise self.silent()
            self._check_work(since)
            if told[0]:
                line.tell(told[0], told[1] or since)
            if now - max(asked, line.heard) > pause:
                # The longer an op takes, the less is asked.
                pause = min(2 * pause, PING_MAX_SECONDS) if asked > line.heard else PING_SECONDS
                asked = now
                self._ask_presence()
            self.read(POLL_SECONDS)

    def answer(self, request: int, kind: Type) -> bytes:
        """Wait for the one answer of ``kind`` to a request; returns its payload."""
        frame = self.await_answer(request)
        self.forget(request)
        if frame is None or frame.type != kind:
            raise self.line.faulty(f"gave another answer than the {kind.name} that was awaited")
        return frame.payload

    def echo(self, value: int, seconds: float) -> bool:
        """Send one PING; returns whether it was answered within so many seconds."""
        request = self.send_unnumbered(Type.PING, requests.Ping, value=value)
        self.expect(request)
        frame = self.await_answer(request, seconds)
        self.forget(request)
        return frame is not None

    def _check_work(self, since: float) -> None:
        most = self.device.work_seconds()
        if self.line.spent() - since > most:
            raise DeviceFaulty(
                f"{self.line.stream.description} has only said that it is there for {most:.0f} s, longer than the "
                "largest step of its model takes: reset it; where it is that slow, a longer --patience waits longer"
            )

    def _pick(self, request: int) -> Frame | None:
        for index, frame in enumerate(self._waiting):
            if int.from_bytes(frame.payload[:4], "little") == request:
                del self._waiting[index]
                return frame
        return None

    def silent(self) -> TargetError:
        """An error about a device that has said nothing for as long as it may."""
        what = "sent nothing that is a frame" if self.line.heard > self._framed else "been silent"
        return TargetError(
            f"{self.line.stream.description} has {what} for {self.device.patience:.0f} s in the middle of a request; "
            f"reset the device and try again.\nLast lines:\n{self.line.seen()}"
        )
