# SPDX-License-Identifier: Apache-2.0
"""The host end of the protocol: requests to a device and their answers, over any byte stream.

Everything happens in the caller's thread, so Ctrl-C works at any time; after a KeyboardInterrupt ``cancel`` ends
what the device still runs.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from construct import Struct

from host.errors import DeviceFailure, TargetError
from host.link import messages
from host.link.frames import Damaged, Decoder, Frame, Text, encode
from host.link.messages import Channel, DeviceState, RunFlag, StatsFlag, Type
from host.link.records import DeviceInfo, DeviceStats, Done, OpCost, SamplerParams
from host.link.runs import Generation, Run, Scoring
from host.link.stream import ByteStream

POLL_SECONDS = 0.2
HELLO_SECONDS = 0.5
BOOTING_SECONDS = 2.0
"""Between two HELLOs to a device that is still checking its image: it hears them all afterwards."""
PING_SECONDS = 5.0
TAIL_LINES = 12


@dataclass
class Connection:
    """Sequence numbers of one epoch."""

    epoch: int = 0
    send_next: int = 0
    receive_next: int = 0
    duplicates: int = 0
    lost: int = 0


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")


class Client:
    """One device on one byte stream.

    console: called with each text line that arrives outside frames. patience: seconds without any byte after which
    a device is given up; it is asked by PING in between. clock: seconds, where the stream is simulated with a time of
    its own.
    """

    def __init__(
        self,
        stream: ByteStream,
        console: Callable[[str], None] | None = None,
        patience: float = 120.0,
        trace: Callable[[Frame | Text | Damaged], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream
        self.now = clock
        self.console = console
        self.patience = patience
        self.trace = trace
        self.decoder = Decoder()
        self.connection = Connection()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.lengths: dict[int, int] = {}
        self.active: Run[Any] | None = None
        self.interrupted = False
        self._info: DeviceInfo | None = None
        self._waiting: deque[Frame] = deque()
        self._heard = self.now()
        self._request = secrets.randbits(31)

    @property
    def info(self) -> DeviceInfo:
        """What the device said in the last ``connect``."""
        if self._info is None:
            raise TargetError("not connected to a device yet")
        return self._info

    # ---- connecting ----

    def connect(self, timeout: float = 15.0) -> DeviceInfo:
        """Say hello until the device answers; what it still runs for an earlier host is cancelled.

        timeout: seconds since the last byte heard, and twice as many in all, for a shell has words for every hello;
        once its boot report is seen ``patience`` takes its place, so that a device can check the image. Raises
        TargetError when nothing answers, or in another protocol version.
        """
        nonce = secrets.randbits(32)
        self.connection = Connection(epoch=1 + secrets.randbelow(0xFFFF))
        self._waiting.clear()
        self._heard = began = self.now()
        while True:
            booting = any(messages.RELEASE.split()[0] in line for line in self.tail)
            self.connection.send_next = 0
            self._send(
                Type.HELLO,
                messages.Hello,
                nonce=nonce,
                version_min=messages.VERSION_MIN,
                version_max=messages.VERSION_MAX,
            )
            again = self.now() + (BOOTING_SECONDS if booting else HELLO_SECONDS)
            while (left := again - self.now()) > 0:
                for frame in self._frames(min(left, POLL_SECONDS), hello=nonce):
                    return self._accept(messages.HelloReply.parse(frame.payload))
            limit, now = self.patience if booting else timeout, self.now()
            if now - self._heard > limit or now - began > 2 * limit:
                raise TargetError(self._no_answer(now - began))

    def _accept(self, head: Any) -> DeviceInfo:
        if head.version_min > messages.VERSION_MAX or head.version_max < messages.VERSION_MIN:
            raise TargetError(
                f"{self.stream.description} speaks protocol {head.version_min} to {head.version_max}, this host "
                f"{messages.VERSION_MIN} to {messages.VERSION_MAX}; update the older of host and firmware"
            )
        values = {name: head[name] for name in DeviceInfo.__dataclass_fields__}
        for name in ("firmware", "board", "isa", "kernels"):
            values[name] = _text(values[name])
        values["counters"] = bool(values["counters"])
        self._info = DeviceInfo(**values)
        if self._info.state == DeviceState.RUNNING:
            self._stop_stranger()
        return self._info

    def _stop_stranger(self) -> None:
        """Cancel what an earlier host left running, and wait until it has ended."""
        deadline = self.now() + self.patience
        while self.now() < deadline:
            if not self._ask(Type.CANCEL, messages.Cancel, target=0).value:
                return
            self._read(POLL_SECONDS, None)
        raise TargetError(f"{self.stream.description} does not end the request that it was running; reset it")

    def _no_answer(self, waited: float) -> str:
        seen = self._seen()
        start = f"no answer from {self.stream.description} for {waited:.0f} s"
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
        return "\n".join(f"    {line}" for line in self.tail)

    def require_model(self) -> None:
        """Raise DeviceFailure with the device's own error when it has no valid model."""
        if self.info.state == DeviceState.NO_MODEL:
            raise DeviceFailure(self.info.error, self.info.detail)

    # ---- frames ----

    def _send(self, kind: Type, struct: Struct, tail: bytes = b"", **values: Any) -> int:
        """Send one request and return its id."""
        self._request = (self._request + 1) & 0x7FFFFFFF or 1
        payload = struct.build({"request": self._request, **values}) + tail
        connection = self.connection
        frame = Frame(
            type=kind,
            payload=payload,
            channel=Channel.CONTROL,
            epoch=connection.epoch,
            seq=connection.send_next,
            ack=connection.receive_next,
        )
        connection.send_next = (connection.send_next + 1) & 0xFFFF
        self.stream.write(encode(frame))
        return self._request

    def _frames(self, timeout: float, hello: int | None = None) -> Iterator[Frame]:
        """Good new frames that arrive within ``timeout``; ``hello``: only a HELLO_REPLY with this nonce."""
        if not self._waiting:
            self._read(timeout, hello)
        while self._waiting:
            yield self._waiting.popleft()

    def check_interrupt(self) -> None:
        """Raise the KeyboardInterrupt that ``deferred_interrupts`` has kept back."""
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    def _read(self, timeout: float, hello: int | None) -> None:
        self.check_interrupt()
        data = self.stream.read(timeout)
        if data:
            self._heard = self.now()
        for item in self.decoder.feed(data):
            if self.trace:
                self.trace(item)
            if isinstance(item, Text):
                self._take_text(item.line)
            elif isinstance(item, Damaged):
                self.tail.append(repr(item.data[-64:]))
            elif self._is_new(item, hello):
                self._waiting.append(item)

    def _take_text(self, line: str) -> None:
        if line.strip():
            self.tail.append(line)
        if self.console:
            self.console(line)

    def _is_new(self, frame: Frame, hello: int | None) -> bool:
        connection = self.connection
        if hello is None and frame.epoch == 0 and frame.type == Type.HELLO_REPLY:
            # Only a device that no host has spoken to since its start announces itself.
            raise TargetError(
                f"{self.stream.description} restarted in the middle of the connection; connect again. "
                f"Last lines:\n{self._seen()}"
            )
        if frame.epoch != connection.epoch or (frame.version > messages.VERSION_MAX and hello is None):
            return False
        if hello is not None:
            if frame.type != Type.HELLO_REPLY or len(frame.payload) < messages.HelloReply.sizeof():
                return False
            connection.receive_next = (frame.seq + 1) & 0xFFFF
            return bool(messages.HelloReply.parse(frame.payload).nonce == hello)
        ahead = (frame.seq - connection.receive_next) & 0xFFFF
        if ahead >= 0x8000:
            connection.duplicates += 1
            return False
        connection.lost += ahead
        connection.receive_next = (frame.seq + 1) & 0xFFFF
        return True

    def await_answer(self, request: int, wait: float | None = None) -> Frame | None:
        """Wait for the next frame about a request; None when ``wait`` seconds brought none.

        Raises DeviceFailure for ERROR, TargetError when the device went silent or away.
        """
        asked = self._heard = started = self.now()
        while True:
            for frame in self._frames(POLL_SECONDS):
                if int.from_bytes(frame.payload[:4], "little") != request:
                    continue
                if frame.type == Type.ERROR:
                    error = messages.Error.parse(frame.payload)
                    raise DeviceFailure(error.code, error.detail)
                return frame
            now = self.now()
            if wait is not None and now - started > wait:
                return None
            if now - self._heard > self.patience:
                raise TargetError(self._silent())
            if now - max(asked, self._heard) > PING_SECONDS:
                asked = now
                self._send(Type.PING, messages.Ping, value=0)

    def _answer(self, request: int, kind: Type) -> bytes:
        """Wait for the one answer of ``kind`` to a request; return its payload."""
        while True:
            frame = self.await_answer(request)
            if frame is not None and frame.type == kind:
                return frame.payload

    def _silent(self) -> str:
        return (
            f"{self.stream.description} has been silent for {self.patience:.0f} s in the middle of a request; "
            f"reset the device and try again.\nLast lines:\n{self._seen()}"
        )

    def _ask(self, kind: Type, struct: Struct, tail: bytes = b"", **values: Any) -> Any:
        """A request that OK answers; returns the OK."""
        request = self._send(kind, struct, tail, **values)
        return messages.Ok.parse(self._answer(request, Type.OK))

    # ---- requests ----

    def ping(self) -> float:
        """Seconds until the device answered."""
        start = self.now()
        self._ask(Type.PING, messages.Ping, value=1)
        return self.now() - start

    def truncate(self, length: int = 0, session: int = 0) -> int:
        """Roll a session back to ``length`` tokens; 0 empties it. Returns its length."""
        self.lengths[session] = int(self._ask(Type.TRUNCATE, messages.Truncate, session=session, length=length).value)
        return self.lengths[session]

    def length(self, session: int = 0) -> int:
        """Tokens of the session, pending ones included. A session that this client has not used is emptied first."""
        if session not in self.lengths:
            self.truncate(0, session)
        return self.lengths[session]

    def prompt(self, tokens: Sequence[int], session: int = 0) -> int:
        """Append tokens to a session; they are evaluated by the next generate or score. Returns its length.

        A prompt longer than the device's queue is evaluated in parts on the way, but for its last part.
        """
        room = self.info.pending_limit
        waiting = 0
        for first in range(0, len(tokens), messages.MAX_PROMPT_TOKENS):
            part = tokens[first : first + messages.MAX_PROMPT_TOKENS]
            if waiting + len(part) > room:
                self.generate(0, session=session).finish()
                waiting = 0
            waiting += len(part)
            answer = self._ask(
                Type.PROMPT,
                messages.Prompt,
                tail=np.asarray(part, dtype="<u4").tobytes(),
                session=session,
                position=self.length(session),
                count=len(part),
            )
            self.lengths[session] = int(answer.value)
        return self.length(session)

    def generate(
        self,
        max_tokens: int,
        params: SamplerParams | None = None,
        stop_ids: Sequence[int] = (),
        session: int = 0,
        digest: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Generation:
        """Evaluate what is pending and sample up to ``max_tokens``: an iterator of tokens, whose ``done`` is set last.

        A stop id is the last token given. progress: called with (evaluated, of so many) during a long prompt.
        """
        params = params or SamplerParams()
        ids = list(stop_ids)[: messages.MAX_STOP_IDS]
        request = self._send(
            Type.GENERATE,
            messages.Generate,
            session=session,
            max_tokens=max_tokens,
            flags=RunFlag.DIGEST if digest else 0,
            temperature=params.temperature,
            top_k=params.top_k,
            top_p=params.top_p,
            min_p=params.min_p,
            repeat_penalty=params.repeat_penalty,
            repeat_last=params.repeat_last,
            seed=params.seed,
            stop_count=len(ids),
            stop_ids=ids + [0] * (messages.MAX_STOP_IDS - len(ids)),
        )
        return Generation(self, request, session, progress)

    def score(
        self,
        session: int = 0,
        digest: bool = False,
        logits: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Scoring:
        """Evaluate what is pending with all its logits: an iterator of one row a token."""
        flags = (RunFlag.DIGEST if digest else 0) | (RunFlag.LOGITS if logits else 0)
        request = self._send(Type.SCORE, messages.Score, session=session, flags=flags)
        return Scoring(self, request, session, progress, self.info.vocab if logits else 0)

    def cancel(self) -> Done | None:
        """End what this client has running and wait until it has ended. Returns how; None when nothing ran."""
        return self.active.cancel() if self.active else None

    def send_cancel(self, target: int) -> None:
        """Ask the device to stop the request ``target``; its DONE tells when it has."""
        self._send(Type.CANCEL, messages.Cancel, target=target)

    def stats(self, enable: bool | None = None, reset: bool = False) -> DeviceStats:
        """Ask for the cost by op, then switch counting on or off and reset it, where asked for."""
        ops: list[OpCost] = []
        while True:
            request = self._send(Type.STATS, messages.Stats, flags=0, first=len(ops))
            payload = self._answer(request, Type.STATS_REPLY)
            head = messages.StatsReply.parse(payload)
            for i in range(head.count):
                at = messages.StatsReply.sizeof() + i * messages.OpRecord.sizeof()
                record = messages.OpRecord.parse(payload[at:])
                ops.append(OpCost(record.id, record.weight, record.calls, record.instret, record.cycles))
            if not head.count or len(ops) >= head.total:
                break
        flags = (StatsFlag.RESET if reset else 0) | (
            0 if enable is None else StatsFlag.ENABLE if enable else StatsFlag.DISABLE
        )
        if flags:
            self._answer(self._send(Type.STATS, messages.Stats, flags=flags, first=len(ops)), Type.STATS_REPLY)
        return DeviceStats(
            ops,
            head.frames_received,
            head.frames_damaged,
            head.frames_duplicate,
            head.frames_lost,
            head.uptime_us,
        )
