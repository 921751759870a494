# SPDX-License-Identifier: Apache-2.0
"""The host's end of a line: it says hello, sends and receives frames, and notices a device that has restarted."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from construct import Struct

from host.errors import DeviceFailure, DeviceFaulty, DeviceRestarted, TargetError
from host.link import limits
from host.link.delivery import Delivery
from host.link.frames import Damaged, Decoder, Frame, Text
from host.link.records import DeviceInfo
from host.link.stream import ByteStream, SerialStream
from host.schema.wire import answers, requests
from host.schema.wire.constants import RELEASE, VERSION_MAX, VERSION_MIN
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState, Hello, HelloReply
from host.schema.wire.payload import is_well_formed
from host.words import shown

POLL_SECONDS = 0.2
HELLO_SECONDS = 0.5
LOADER_SECONDS = 3.0
"""Of silence after words of another program before the next HELLO; a device that is ready announces itself."""
CHECKING_SECONDS = 1.0
"""Between two questions whether the image has been checked."""
PING_SECONDS = 0.5
"""A device that says nothing for so long while an answer is awaited is asked whether it is there."""
PING_MAX_SECONDS = 5.0
RATE_LOST_SECONDS = 1.0
"""At another rate than the first, damage without a frame for so long means that the device is back at that."""
DOUBT_SECONDS = 1.0
"""A device that seems to have restarted and does not answer for so long has."""
STOPPED_SECONDS = 1.0
"""A look at the line that took so much longer than asked for: this process was stopped, and the device is not late."""
LAST_READS, LAST_READ_SECONDS = 5, 0.05
AWAY_POLL_SECONDS = 0.2
TAIL_LINES = 12
REPORT_TEXT = re.compile(rf"{RELEASE.split()[0]} \S+ on ")
FAILURE_TEXT = re.compile(r"TRAP: |WATCHDOG: ")
"""The firmware's last words, before its board restarts."""
FAILURE_BYTES = re.compile(rb"(TRAP|WATCHDOG): [ -~]+")
"""The same behind a frame that was cut off by them."""
OTHER_TEXT = re.compile(rf"OpenSBI v|U-Boot (SPL )?\d|{FAILURE_TEXT.pattern}")
"""Before or after the firmware: what follows may be a boot loader's countdown."""
HELLO_HEAD = 10
"""Bytes of HELLO_REPLY that are the same in all versions."""


@dataclass
class Doubt:
    """Signs that the device is no longer the one that was connected."""

    since: float
    asked: float = float("-inf")
    announcements: int = 0
    epoch: int = 0


Waiting = Callable[[str, float, str], None]
"""Told what is waited for, for how many seconds already, and what may help; about every fifth of a second."""


class Endpoint:
    """One end of one byte stream, with a device at the other.

    console, patience, trace, clock, reopen, away: as Client documents them.
    """

    def __init__(
        self,
        stream: ByteStream,
        console: Callable[[str], None] | None,
        patience: float,
        trace: Callable[[Frame | Text | Damaged], None] | None,
        clock: Callable[[], float],
        reopen: Callable[[], ByteStream] | None,
        away: float,
    ) -> None:
        self.stream = stream
        self.reopen = reopen
        self.away = away
        self.now = clock
        self.console = console
        self.patience = patience
        self.trace = trace
        self.decoder = Decoder()
        self.connection = Delivery()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.interrupted = False
        self._info: DeviceInfo | None = None
        self._lost: TargetError | None = None
        """What writing has failed with: the next look at the line meets it, where who asked can ask again."""
        self._text_at = float("-inf")
        self._booting = False
        """Whether the last program that named itself is our firmware."""
        self._announced = False
        self._waiting: deque[Frame] = deque()
        self._open: set[int] = set()
        self._nonce = 0
        self._doubt: Doubt | None = None
        self._heard = self._framed = self.now()
        """When the last bytes came, and the last frame of this connection."""
        self._overheard: set[int] = set()
        """Types of the frames that were no answer to HELLO."""
        self._first_baud = 0
        """Rate of the line before it was first changed."""
        self._spoiled: float | None = None
        """When damage came that neither a good frame nor a request has followed."""
        self._request = secrets.randbits(31)
        self.model_bytes = 0
        """Size of the device's image where this host knows it; else what the device says counts."""
        self.tell: Waiting | None = None
        self.failure = ""
        """Last words of a firmware that trapped or was ended by its watchdog, until it has answered a HELLO."""
        self._stopped = 0.0
        """Seconds for which this process was stopped: no device is late by them."""
        self._sizes: dict[int, tuple[int, int]] = {}
        """Offset and size of READ and WRITE that are not answered yet."""

    @property
    def info(self) -> DeviceInfo:
        """What the device said in the last ``connect``."""
        if self._info is None:
            raise TargetError("not connected to a device yet")
        return self._info

    # ---- attaching ----

    def _attach(self, timeout: float) -> None:
        """Say hello in a new epoch until the device answers and has checked its image; see ``Client.connect``."""
        self.connection = Delivery(epoch=1 + secrets.randbelow(0xFFFF))
        self._waiting.clear()
        self._open.clear()
        self._doubt = None
        self._nonce = secrets.randbits(32)
        self._hello(timeout)
        self._await_check()

    def _await_check(self) -> None:
        """While the device says that it checks its image, for as long as that can take."""
        began = self.spent()
        while self.info.state == DeviceState.CHECKING:
            size = self.model_bytes or self.info.image_bytes
            most, waited = limits.check_seconds(self.patience, size), self.spent() - began
            if waited > most:
                raise DeviceFaulty(
                    f"{self.stream.description} has been checking its image for {waited:.0f} s, and {size >> 20} MiB "
                    f"take no more than {most:.0f} s: reset it; where it is that slow, a longer --patience waits longer"
                )
            self._tell("the device checks the image's hashes", began)
            self._read(CHECKING_SECONDS)
            self._hello(self.patience)

    def spent(self) -> float:
        """Seconds of the clock, without those in which this process was stopped."""
        return self.now() - self._stopped

    def _tell(self, what: str, since: float, hint: str = "") -> None:
        if self.tell:
            self.tell(what, self.spent() - since, hint)

    def _pause(self, seconds: float) -> None:
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            self._read(left)

    def _hello(self, timeout: float) -> None:
        self._heard = self._framed = began = self.now()
        told = self.spent()
        self._overheard.clear()
        while True:
            self._await_silence(began, timeout)
            payload = Hello.build(
                {
                    "request": self._next_request(),
                    "nonce": self._nonce,
                    "version_min": VERSION_MIN,
                    "version_max": VERSION_MAX,
                }
            )
            self._write(self.connection.unnumbered(Type.HELLO, payload))
            again = self.now() + HELLO_SECONDS
            while (left := again - self.now()) > 0:
                self._read(min(left, POLL_SECONDS), self._nonce)
                if self._waiting:
                    self._accept(self._waiting.popleft().payload)
                    self._doubt = None
                    return
                self._tell_missing(told)
            limit, now = self.patience if self._booting else timeout, self.now()
            if now - self._heard > limit or now - began > 2 * limit:
                raise TargetError(self._no_answer(now - began))

    def _await_silence(self, began: float, timeout: float) -> None:
        """Say nothing while another program speaks: U-Boot takes any byte for a key that stops its countdown.

        Our firmware's own report ends the silence, and so does an announcement. TargetError where neither comes.
        """
        self._announced = False
        while not (self._booting or self._announced or self._waiting) and self.now() - self._text_at < LOADER_SECONDS:
            self._read(POLL_SECONDS, self._nonce)
            self._tell_missing(began - self._stopped)
            if self.now() - began > 2 * timeout:
                raise TargetError(self._no_answer(self.now() - began))

    def _check_version(self, head: Any) -> bool:
        if head.version_min > VERSION_MAX or head.version_max < VERSION_MIN:
            raise TargetError(
                f"{self.stream.description} speaks protocol {head.version_min} to {head.version_max}, this host "
                f"{VERSION_MIN} to {VERSION_MAX}; update the older of host and firmware"
            )
        return True

    def _tell_missing(self, since: float) -> None:
        """What a HELLO waits for."""
        hint = getattr(self.stream, "hint", "")
        if self._booting or not hint:
            self._tell(f"{self.stream.description} starts", since)
        elif self.now() - self._text_at < LOADER_SECONDS:
            self._tell(f"another program speaks on {self.stream.description}, a boot loader perhaps", since)
        else:
            self._tell(f"no answer on {self.stream.description} yet", since, hint)

    def _accept(self, payload: bytes) -> None:
        if len(payload) < HelloReply.sizeof():
            raise self.faulty(f"sent a HELLO_REPLY of {len(payload)} bytes")
        head = HelloReply.parse(payload)
        values = {name: head[name] for name in DeviceInfo.__dataclass_fields__}
        limits.check_hello(self.stream.description, values)
        for name in limits.WORDS:
            values[name] = limits.words_of(values[name])
        values["counters"] = bool(values["counters"])
        values["bauds"] = tuple(baud for baud in values["bauds"] if baud)
        self._info = DeviceInfo(**values)
        self.failure = ""

    def faulty(self, what: str) -> DeviceFaulty:
        """An error about what no device should do."""
        return DeviceFaulty(
            f"{self.stream.description} {what}, which the protocol does not allow: it is faulty, or its firmware is "
            "of another version; reset it, or build the firmware from the same version as the host"
        )

    def _no_answer(self, waited: float) -> str:
        for item in self.decoder.flush():
            if not isinstance(item, Frame):
                self._take_words(item)
        seen = self._seen()
        start = f"no answer from {self.stream.description} for {waited:.0f} s"
        if Type.HELLO_REPLY in self._overheard:
            return f"{start}, though it announces itself: it does not hear this host; check the wire to its RX"
        if Type.HELLO in self._overheard:
            return f"{start}, but what was sent came back: TX and RX touch one another, or another program echoes"
        if self.decoder.damaged and not self.decoder.frames:
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

    def _seen(self) -> str:
        return "\n".join(f"    {shown(line)}" for line in self.tail)

    # ---- frames ----

    def _next_request(self) -> int:
        self._request = (self._request + 1) & 0x7FFFFFFF or 1
        return self._request

    def _send(self, kind: Type, struct: Struct, /, tail: bytes = b"", answered: bool = True, **values: Any) -> int:
        """Send one request and return its id; ``answered``: frames about it are kept until ``_done`` with it."""
        request = self._next_request()
        if answered:
            self._open.add(request)
        self._spoiled = None
        self.connection.push(kind, struct.build({"request": request, **values}) + tail, self.now())
        self._write(self.connection.due(self.now()))
        return request

    def _write(self, data: bytes) -> None:
        try:
            if data:
                self.stream.write(data)
        except TargetError as error:
            self._lost = error

    def _receive(self, timeout: float) -> bytes:
        """What has arrived; where the stream has ended and can be opened anew, that is a restart."""
        try:
            if self._lost is None:
                return self.stream.read(timeout)
            raise self._lost
        except TargetError as error:
            self._lost = None
            self._hear_last_words()
            error = self._explained(error)
            if self.reopen is None:
                raise error from None
            self.stream.close()
            self.stream = self._await_stream(self.reopen, error)
            self._booting, self._text_at = False, self.now()
            raise DeviceRestarted(str(error)) from error

    def _explained(self, error: TargetError) -> TargetError:
        """Why a stream has ended: the firmware's last words tell more than a simulator's exit status."""
        if not self.failure:
            return error
        return TargetError(f"{self.stream.description} ended itself after it had said: {self.failure}")

    def _await_stream(self, reopen: Callable[[], ByteStream], error: TargetError) -> ByteStream:
        """The stream opened anew, for which it has ``away`` seconds; Ctrl-C ends them with the error."""
        if self.away and self.console:
            self.console(f"[{error} It is awaited for {self.away:g} s; Ctrl-C ends that]")
        began = self.spent()
        end = self.now() + self.away
        try:
            while True:
                self.check_interrupt()
                self._tell(f"{self.stream.description} is away", began, "plug it in, or look whether it has power")
                try:
                    return reopen()
                except TargetError:
                    if self.now() >= end:
                        raise
                time.sleep(AWAY_POLL_SECONDS)
        except KeyboardInterrupt:
            raise error from None

    def _hear_last_words(self) -> None:
        """Where writing has failed there may be a report of why the device ended, unread, or behind half a frame."""
        items: list[Frame | Text | Damaged] = []
        with contextlib.suppress(TargetError):
            for _ in range(LAST_READS):
                items += self.decoder.feed(self.stream.read(LAST_READ_SECONDS))
        for item in (*items, *self.decoder.flush()):
            if not isinstance(item, Frame):
                self._take_words(item)

    def check_interrupt(self) -> None:
        """Raise the KeyboardInterrupt that ``deferred_interrupts`` has kept back."""
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    def _read(self, timeout: float, hello: int | None = None) -> None:
        """Receive for up to ``timeout`` seconds, keep what is awaited, send what is due.

        hello: only a HELLO_REPLY with this nonce is awaited.
        """
        self.check_interrupt()
        before = self.now()
        wait = min(timeout, self.connection.wait(before))
        data = self._receive(wait)
        now = self.now()
        if now - before > wait + STOPPED_SECONDS:
            self._framed = now
            self._stopped += now - before - wait
            self.connection.forgive(now)
        if data:
            self._heard = now
        out = b""
        for item in self.decoder.feed(data):
            if self.trace:
                self.trace(item)
            if not isinstance(item, Frame):
                self._take_words(item)
                out += self.connection.damaged(now) if isinstance(item, Damaged) and hello is None else b""
            elif hello is None:
                out += self._take_frame(item, now)
            elif self._is_reply(item, hello):
                self._waiting.append(item)
            else:
                self._overheard.add(item.type)
                self._announced |= item.type == Type.HELLO_REPLY
        self._write(out + (self.connection.due(now) if hello is None else b""))
        if hello is None:
            self._check_doubt(now)

    def _take_words(self, item: Text | Damaged) -> None:
        if isinstance(item, Text):
            self._take_text(item.line)
            return
        self.tail.append(repr(item.data[-64:]))
        if found := FAILURE_BYTES.search(item.data):
            self._take_text(found.group().decode())
        self._check_rate(self.now())

    def _take_text(self, line: str) -> None:
        if line.strip():
            self.tail.append(line)
            self._text_at = self.now()
        if self.console:
            self.console(line)
        if FAILURE_TEXT.match(line):
            self.failure = shown(line)
        if REPORT_TEXT.match(line):
            self._booting = True
        elif OTHER_TEXT.match(line):
            self._booting = False
        else:
            return
        if self.connection.epoch:
            self._doubt = self._doubt or Doubt(self.now())

    def _is_reply(self, frame: Frame, nonce: int) -> bool:
        """Whether a frame answers the HELLO with this nonce; its head is the same in all versions."""
        if frame.type != Type.HELLO_REPLY or frame.epoch != self.connection.epoch:
            return False
        payload = frame.payload.ljust(HelloReply.sizeof(), b"\0")
        self.connection.credit = frame.credit
        if len(frame.payload) < HELLO_HEAD or HelloReply.parse(payload).nonce != nonce:
            return False
        return self._check_version(HelloReply.parse(payload))

    def _take_frame(self, frame: Frame, now: float) -> bytes:
        """Keep a frame that is awaited; returns what to send at once."""
        if frame.epoch != self.connection.epoch or frame.version > VERSION_MAX:
            if frame.type == Type.HELLO_REPLY:
                self._doubt = self._doubt or Doubt(now)
                self._doubt.announcements += 1
                self._doubt.epoch = frame.epoch
            return b""
        self._doubt = self._spoiled = None
        self._framed = now
        wanted, out = self.connection.receive(frame, now)
        if wanted and int.from_bytes(frame.payload[:4], "little") in self._open:
            if not is_well_formed(frame.type, frame.payload):
                raise self.faulty(f"sent a message of type {frame.type:#x} that is not as it should be")
            if len(self._waiting) >= limits.MOST_WAITING:
                raise self.faulty(f"sent {limits.MOST_WAITING} messages that nobody waits for now")
            self._waiting.append(frame)
        return out

    def _check_rate(self, now: float) -> None:
        """After damage: a device that has restarted, or heard only noise itself, is at the line's first rate again."""
        line = self.stream
        if self._spoiled is None:
            self._spoiled = now
        lost = now - self._spoiled > RATE_LOST_SECONDS
        if lost and isinstance(line, SerialStream) and self._first_baud not in (0, line.baud):
            line.set_baud(self._first_baud)
            self._doubt = Doubt(now)

    def _check_doubt(self, now: float) -> None:
        """Whether the device that was connected is still there: asked by PING when something says that it is not.

        A device that does not know this epoch announces itself to whoever speaks in it.
        """
        doubt = self._doubt
        if doubt is None:
            return
        if doubt.announcements > 1 or now - doubt.since > DOUBT_SECONDS:
            self._doubt = None
            if doubt.epoch:
                raise TargetError(f"another host has opened {self.stream.description}; close one of the two")
            why = (
                f"restarted after it had said: {self.failure}"
                if self.failure
                else ("restarted in the middle of the connection, or its terminal was used")
            )
            raise DeviceRestarted(f"{self.stream.description} {why}; connect again. Last lines:\n{self._seen()}")
        if now - max(doubt.asked, self._text_at) > POLL_SECONDS:
            doubt.asked = now
            self._send_ping(0)

    def _send_ping(self, value: int) -> int:
        request = self._next_request()
        payload = requests.Ping.build({"request": request, "value": value})
        self._write(self.connection.unnumbered(Type.PING, payload))
        return request

    def await_answer(
        self,
        request: int,
        wait: float | None = None,
        since: float | None = None,
        told: tuple[str, float] = ("waiting for the device", 0.0),
    ) -> Frame | None:
        """Wait for the next frame about a request; None when ``wait`` seconds brought none.

        since: ``spent()`` when the request had its last result, which is now by default. told: what is waited for in
        words, none for nothing, and ``spent()`` when that began, or 0 for now.
        Raises DeviceFailure for ERROR, TargetError when the device went silent or away, DeviceFaulty when it only says
        that it is there for longer than its model's largest step can take.
        """
        asked = self._heard = self._framed = started = self.now()
        since = self.spent() if since is None else since
        pause = PING_SECONDS
        while True:
            frame = self._pick(request)
            if frame is not None and frame.type == Type.ERROR:
                self._open.discard(request)
                error = answers.Error.parse(frame.payload)
                raise DeviceFailure(error.code, error.detail)
            if frame is not None:
                return frame
            now = self.now()
            if wait is not None and now - started > wait:
                return None
            if max(now - self._framed, self.connection.stalled(now)) > self.patience:
                raise TargetError(self._silent())
            self._check_work(since)
            if told[0]:
                self._tell(told[0], told[1] or since)
            if now - max(asked, self._heard) > pause:
                # The longer an op takes, the less is asked.
                pause = min(2 * pause, PING_MAX_SECONDS) if asked > self._heard else PING_SECONDS
                asked = now
                self._send_ping(0)
            self._read(POLL_SECONDS)

    def _check_work(self, since: float) -> None:
        info = self._info
        size = min(info.weight_bytes, self.model_bytes or info.weight_bytes) if info else 0
        most = limits.work_seconds(self.patience, size, info.max_rows if info else 0)
        if self.spent() - since > most:
            raise DeviceFaulty(
                f"{self.stream.description} has only said that it is there for {most:.0f} s, longer than the largest "
                "step of its model takes: reset it; where it is that slow, a longer --patience waits longer"
            )

    def _pick(self, request: int) -> Frame | None:
        for index, frame in enumerate(self._waiting):
            if int.from_bytes(frame.payload[:4], "little") == request:
                del self._waiting[index]
                return frame
        return None

    def forget(self, request: int) -> None:
        """Nothing more is awaited about a request."""
        self._open.discard(request)

    def _answer(self, request: int, kind: Type) -> bytes:
        """Wait for the one answer of ``kind`` to a request; return its payload."""
        frame = self.await_answer(request)
        self._open.discard(request)
        if frame is None or frame.type != kind:
            raise self.faulty(f"gave another answer than the {kind.name} that was awaited")
        return frame.payload

    def _silent(self) -> str:
        what = "sent nothing that is a frame" if self._heard > self._framed else "been silent"
        return (
            f"{self.stream.description} has {what} for {self.patience:.0f} s in the middle of a request; "
            f"reset the device and try again.\nLast lines:\n{self._seen()}"
        )
