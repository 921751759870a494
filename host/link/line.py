# SPDX-License-Identifier: Apache-2.0
"""The byte stream to a device with its clock and its rate, and the words that come on it outside frames."""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Callable

from host.errors import DeviceFaulty, DeviceRestarted, TargetError
from host.link.frames import Damaged, Decoder, Frame, Text
from host.link.stream import ByteStream, SerialStream
from host.schema.wire.constants import RELEASE
from host.words import shown

RATE_LOST_SECONDS = 1.0
"""At another rate than the first, damage without a frame for so long means that the device is back at the first."""
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

Item = Frame | Text | Damaged
Waiting = Callable[[str, float, str], None]
"""Called about every fifth of a second with what is waited for, for how many seconds already, and what may help."""


class Line:
    """One byte stream. All times are seconds of ``now``.

    console: gets each line of text. trace: gets everything that was received. reopen: makes a new stream where the old
    one has ended. away: seconds for which that is tried.
    """

    def __init__(
        self,
        stream: ByteStream,
        console: Callable[[str], None] | None = None,
        trace: Callable[[Item], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        reopen: Callable[[], ByteStream] | None = None,
        away: float = 0.0,
    ) -> None:
        self.stream = stream
        self.console = console
        self.trace = trace
        self.now = clock
        self.reopen = reopen
        self.away = away
        self.on_wait: Waiting | None = None
        self.interrupted = False
        """Whether a Ctrl-C waits for a moment when no frame is cut in two."""
        self.decoder = Decoder()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.failure = ""
        """Last words of a firmware that trapped or was ended by its watchdog, until it has answered a HELLO."""
        self.booting = False
        """Whether the last program that named itself is our firmware."""
        self.heard = self.now()
        """When the last bytes came."""
        self.text_at = float("-inf")
        """When the last text came."""
        self.stopped = 0.0
        """Seconds for which this process was stopped: no device is late by them."""
        self._write_error: TargetError | None = None
        """The error of a failed ``write``. The next ``read`` raises it, because its caller can ask again."""
        self._first_baud = 0
        """Rate of the line before it was first changed."""
        self._spoiled_since: float | None = None
        """When damage came that neither a good frame nor a request has followed."""

    # ---- time ----

    def spent(self) -> float:
        """Seconds of the clock, without those in which this process was stopped."""
        return self.now() - self.stopped

    def tell(self, what: str, since: float, hint: str = "") -> None:
        """Call ``on_wait`` with what is waited for. since: ``spent()`` when the wait began."""
        if self.on_wait:
            self.on_wait(what, self.spent() - since, hint)

    def check_interrupt(self) -> None:
        """Raise the KeyboardInterrupt that ``deferred_interrupts`` has kept back."""
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    # ---- bytes ----

    def write(self, data: bytes) -> None:
        """Send bytes. The next ``read`` raises what this fails with."""
        try:
            if data:
                self.stream.write(data)
        except TargetError as error:
            self._write_error = error

    def read(self, timeout: float) -> list[Item]:
        """What was received within ``timeout`` seconds. The caller gives text and damage to ``take``, in order.

        Raises TargetError when the stream has ended, DeviceRestarted when it could be opened anew.
        """
        self.check_interrupt()
        before = self.now()
        data = self._receive(timeout)
        now = self.now()
        if now - before > timeout + STOPPED_SECONDS:
            self.stopped += now - before - timeout
        if data:
            self.heard = now
        items = self.decoder.feed(data)
        if self.trace:
            for item in items:
                self.trace(item)
        return items

    def _receive(self, timeout: float) -> bytes:
        try:
            if self._write_error is None:
                return self.stream.read(timeout)
            raise self._write_error
        except TargetError as error:
            self._write_error = None
            self._hear_last_words()
            error = self._explained(error)
            if self.reopen is None:
                raise error from None
            self.stream.close()
            self.stream = self._await_stream(self.reopen, error)
            self.booting, self.text_at = False, self.now()
            raise DeviceRestarted(str(error)) from error

    def _hear_last_words(self) -> None:
        """Where writing has failed there may be a report of why the device ended, unread, or behind half a frame."""
        items: list[Item] = []
        with contextlib.suppress(TargetError):
            for _ in range(LAST_READS):
                items += self.decoder.feed(self.stream.read(LAST_READ_SECONDS))
        self._take_all(items)
        self.flush()

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
                self.tell(f"{self.stream.description} is away", began, "plug it in, or look whether it has power")
                try:
                    return reopen()
                except TargetError:
                    if self.now() >= end:
                        raise
                time.sleep(AWAY_POLL_SECONDS)
        except KeyboardInterrupt:
            raise error from None

    # ---- words ----

    def take(self, item: Text | Damaged) -> bool:
        """Keep and show what came outside frames. Returns whether it says that a program has begun or ended."""
        if isinstance(item, Text):
            return self._take_text(item.line)
        self.tail.append(repr(item.data[-64:]))
        found = FAILURE_BYTES.search(item.data)
        return found is not None and self._take_text(found.group().decode())

    def _take_text(self, line: str) -> bool:
        if line.strip():
            self.tail.append(line)
            self.text_at = self.now()
        if self.console:
            self.console(line)
        if FAILURE_TEXT.match(line):
            self.failure = shown(line)
        ours = REPORT_TEXT.match(line) is not None
        if ours or OTHER_TEXT.match(line):
            self.booting = ours
            return True
        return False

    def _take_all(self, items: list[Item]) -> None:
        for item in items:
            if not isinstance(item, Frame):
                self.take(item)

    def flush(self) -> None:
        """Take what waits for its end, when nothing more will come."""
        self._take_all(self.decoder.flush())

    def seen(self) -> str:
        """The last lines, indented."""
        return "\n".join(f"    {shown(line)}" for line in self.tail)

    def faulty(self, what: str) -> DeviceFaulty:
        """An error about what no device should do."""
        return DeviceFaulty(
            f"{self.stream.description} {what}, which the protocol does not allow: it is faulty, or its firmware is "
            "of another version; reset it, or build the firmware from the same version as the host"
        )

    # ---- rate ----

    def keep_rate(self, before: float) -> None:
        """The rate is about to be changed from ``before``, bits a second, for the first time or again."""
        self._first_baud = self._first_baud or int(before)
        self._spoiled_since = None

    def clear_damage(self) -> None:
        """Forget earlier damage, as a good frame has come or a request begins."""
        self._spoiled_since = None

    def fall_back(self) -> bool:
        """After damage: go back to the first rate where a device that has restarted is at that. Returns whether."""
        stream, now = self.stream, self.now()
        if self._spoiled_since is None:
            self._spoiled_since = now
        lost = now - self._spoiled_since > RATE_LOST_SECONDS
        if lost and isinstance(stream, SerialStream) and self._first_baud not in (0, stream.baud):
            stream.set_baud(self._first_baud)
            return True
        return False
