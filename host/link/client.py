# SPDX-License-Identifier: Apache-2.0
"""The host end of the protocol: requests to a device and their answers, over any byte stream.

Everything happens in the caller's thread, so Ctrl-C works at any time; after a KeyboardInterrupt ``cancel`` ends
what the device still runs.
"""

from __future__ import annotations

import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from construct import Struct

from host.errors import DeviceFailure, DeviceRestarted, TargetError, UsageError
from host.link import messages
from host.link.delivery import Delivery
from host.link.frames import Damaged, Decoder, Frame, Text
from host.link.messages import DeviceState, Failure, RunFlag, Space, StatsFlag, Type
from host.link.records import DeviceInfo, DeviceStats, Done, OpCost, SamplerParams, SessionState
from host.link.runs import Again, Generation, Run, Scoring
from host.link.shape import is_well_formed
from host.link.stream import ByteStream, SerialStream

POLL_SECONDS = 0.2
HELLO_SECONDS = 0.5
LOADER_SECONDS = 3.0
"""Of silence after words of another program before the next HELLO; a device that is ready announces itself."""
CHECKING_SECONDS = 1.0
"""Between two questions whether the image has been checked."""
BAUD_TRY_SECONDS = messages.BAUD_TRY_US / 1e6 * 0.8
"""Less than the device waits, so that it does not go back behind a PING that came through."""
BAUD_PING_SECONDS = 0.1
PING_SECONDS = 0.5
"""A device that says nothing for so long while an answer is awaited is asked whether it is there."""
PING_MAX_SECONDS = 5.0
DOUBT_SECONDS = 1.0
"""A device that seems to have restarted and does not answer for so long has."""
RECOVER_TRIES = 5
TAIL_LINES = 12
BOOT_TEXT = re.compile(rf"{messages.RELEASE.split()[0]} \S+ on |OpenSBI v|U-Boot (SPL )?\d")
HELLO_HEAD = 10
"""Bytes of HELLO_REPLY that are the same in all versions."""

Value = TypeVar("Value")


@dataclass
class Doubt:
    """Signs that the device is no longer the one that was connected."""

    since: float
    asked: float = float("-inf")
    announcements: int = 0
    epoch: int = 0


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")


class Client:
    """One device on one byte stream.

    console: called with each text line that arrives outside frames. patience: seconds without any byte after which
    a device is given up; it is asked by PING in between. clock: seconds, where the stream is simulated with a time of
    its own. restore: when the device restarts, connect again, give its sessions back what they held and go on with what
    was asked, telling ``console``; else DeviceRestarted is raised. reopen: a new stream where the old one has ended,
    such as a simulator's; that is then a restart, too.
    """

    def __init__(
        self,
        stream: ByteStream,
        console: Callable[[str], None] | None = None,
        patience: float = 120.0,
        trace: Callable[[Frame | Text | Damaged], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        restore: bool = False,
        reopen: Callable[[], ByteStream] | None = None,
    ) -> None:
        self.stream = stream
        self.restore = restore
        self.reopen = reopen
        self.now = clock
        self._text_at = float("-inf")
        self._announced = False
        self.console = console
        self.patience = patience
        self.trace = trace
        self.decoder = Decoder()
        self.connection = Delivery()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.lengths: dict[int, int] = {}
        self.history: dict[int, list[int]] = {}
        """Tokens of each session that this client has filled."""
        self.active: Run[Any] | None = None
        self.interrupted = False
        self._info: DeviceInfo | None = None
        self._waiting: deque[Frame] = deque()
        self._open: set[int] = set()
        self._nonce = 0
        self._doubt: Doubt | None = None
        self._heard = self.now()
        self._request = secrets.randbits(31)

    @property
    def info(self) -> DeviceInfo:
        """What the device said in the last ``connect``."""
        if self._info is None:
            raise TargetError("not connected to a device yet")
        return self._info

    # ---- connecting ----

    def connect(self, timeout: float = 15.0, resume: bool = False) -> DeviceInfo:
        """Say hello until the device answers and has checked its image.

        timeout: seconds since the last byte heard, and twice as many in all, for a shell has words for every hello;
        once its boot report is seen ``patience`` takes its place, so that a device can check the image. resume: leave
        running what an earlier host started, for ``resume``; else it is cancelled. Raises TargetError when nothing
        answers, or in another protocol version.
        """
        nonce = secrets.randbits(32)
        self.connection = Delivery(epoch=1 + secrets.randbelow(0xFFFF))
        self._waiting.clear()
        self._open.clear()
        self._doubt = None
        self._nonce = nonce
        self._hello(nonce, timeout)
        self._await_check()
        if self.info.state == DeviceState.RUNNING and not resume:
            self._stop_stranger()
        return self.info

    def _await_check(self) -> None:
        while self.info.state == DeviceState.CHECKING:
            self._read(CHECKING_SECONDS)
            self._hello(self._nonce, self.patience)

    def _hello(self, nonce: int, timeout: float) -> None:
        self._heard = began = self.now()
        while True:
            booting = any(messages.RELEASE.split()[0] in line for line in self.tail)
            if not booting and self.now() - self._text_at < LOADER_SECONDS:
                self._await_silence(nonce)
            payload = messages.Hello.build(
                {
                    "request": self._next_request(),
                    "nonce": nonce,
                    "version_min": messages.VERSION_MIN,
                    "version_max": messages.VERSION_MAX,
                }
            )
            self._write(self.connection.unnumbered(Type.HELLO, payload))
            again = self.now() + HELLO_SECONDS
            while (left := again - self.now()) > 0:
                self._read(min(left, POLL_SECONDS), nonce)
                if self._waiting:
                    self._accept(messages.HelloReply.parse(self._waiting.popleft().payload))
                    self._doubt = None
                    return
            limit, now = self.patience if booting else timeout, self.now()
            if now - self._heard > limit or now - began > 2 * limit:
                raise TargetError(self._no_answer(now - began))

    def _await_silence(self, nonce: int) -> None:
        """Say nothing while another program speaks: U-Boot takes any byte for a key that stops its countdown."""
        self._announced = False
        while not self._announced and not self._waiting and self.now() - self._text_at < LOADER_SECONDS:
            self._read(POLL_SECONDS, nonce)

    def _check_version(self, head: Any) -> bool:
        if head.version_min > messages.VERSION_MAX or head.version_max < messages.VERSION_MIN:
            raise TargetError(
                f"{self.stream.description} speaks protocol {head.version_min} to {head.version_max}, this host "
                f"{messages.VERSION_MIN} to {messages.VERSION_MAX}; update the older of host and firmware"
            )
        return True

    def _accept(self, head: Any) -> None:
        values = {name: head[name] for name in DeviceInfo.__dataclass_fields__}
        for name in ("firmware", "board", "isa", "kernels"):
            values[name] = _text(values[name])
        values["counters"] = bool(values["counters"])
        values["bauds"] = tuple(baud for baud in values["bauds"] if baud)
        self._info = DeviceInfo(**values)

    def _stop_stranger(self) -> None:
        """Cancel what an earlier host left running, and wait until it has ended."""
        deadline = self.now() + self.patience
        while self.now() < deadline:
            if not self._ask(Type.CANCEL, messages.Cancel, target=0).value:
                return
            self._read(POLL_SECONDS)
        raise TargetError(f"{self.stream.description} does not end the request that it was running; reset it")

    def recover(self) -> None:
        """Connect to a device that has restarted and give its sessions back what they held.

        Raises TargetError when it does not come back, or runs another image.
        """
        root, held = self.info.root, {session: list(tokens) for session, tokens in self.history.items()}
        restore, self.restore = self.restore, False
        try:
            for attempt in range(RECOVER_TRIES):
                try:
                    self._restore(root, held)
                    break
                except DeviceRestarted:
                    if attempt + 1 == RECOVER_TRIES:
                        raise
        finally:
            self.restore, self.history = restore, held
        if self.console:
            self.console(f"[{self.stream.description} restarted; its sessions are restored]")

    def _restore(self, root: bytes, held: dict[int, list[int]]) -> None:
        self.tail.clear()
        self.connect(self.patience)
        if self.info.root != root:
            raise TargetError(f"{self.stream.description} restarted with another image; open it again with that one")
        self.lengths.clear()
        self.history = {}
        for session, tokens in held.items():
            self.prompt(tokens, session)

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

    def _next_request(self) -> int:
        self._request = (self._request + 1) & 0x7FFFFFFF or 1
        return self._request

    def _send(self, kind: Type, struct: Struct, /, tail: bytes = b"", answered: bool = True, **values: Any) -> int:
        """Send one request and return its id; ``answered``: frames about it are kept until ``_done`` with it."""
        request = self._next_request()
        if answered:
            self._open.add(request)
        self.connection.push(kind, struct.build({"request": request, **values}) + tail, self.now())
        self._write(self.connection.due(self.now()))
        return request

    def _write(self, data: bytes) -> None:
        if data:
            self._try(lambda: self.stream.write(data))

    def _try(self, act: Callable[[], Value]) -> Value:
        """Do something with the stream; where it has ended and can be opened anew, that is a restart."""
        try:
            return act()
        except TargetError as error:
            if self.reopen is None:
                raise
            self.stream.close()
            self.stream = self.reopen()
            raise DeviceRestarted(str(error)) from error

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
        data = self._try(lambda: self.stream.read(min(timeout, self.connection.wait(self.now()))))
        now = self.now()
        if data:
            self._heard = now
        out = b""
        for item in self.decoder.feed(data):
            if self.trace:
                self.trace(item)
            if isinstance(item, Text):
                self._take_text(item.line)
            elif isinstance(item, Damaged):
                self.tail.append(repr(item.data[-64:]))
                out += self.connection.damaged(now) if hello is None else b""
            elif hello is None:
                out += self._take_frame(item, now)
            elif self._is_reply(item, hello):
                self._waiting.append(item)
            else:
                self._announced |= item.type == Type.HELLO_REPLY
        self._write(out + (self.connection.due(now) if hello is None else b""))
        if hello is None:
            self._check_doubt(now)

    def _take_text(self, line: str) -> None:
        if line.strip():
            self.tail.append(line)
            self._text_at = self.now()
        if self.console:
            self.console(line)
        if BOOT_TEXT.match(line) and self.connection.epoch:
            self._doubt = self._doubt or Doubt(self.now())

    def _is_reply(self, frame: Frame, nonce: int) -> bool:
        """Whether a frame answers the HELLO with this nonce; its head is the same in all versions."""
        if frame.type != Type.HELLO_REPLY or frame.epoch != self.connection.epoch:
            return False
        payload = frame.payload.ljust(messages.HelloReply.sizeof(), b"\0")
        self.connection.credit = frame.credit
        if len(frame.payload) < HELLO_HEAD or messages.HelloReply.parse(payload).nonce != nonce:
            return False
        return self._check_version(messages.HelloReply.parse(payload))

    def _take_frame(self, frame: Frame, now: float) -> bytes:
        """Keep a frame that is awaited; returns what to send at once."""
        if frame.epoch != self.connection.epoch or frame.version > messages.VERSION_MAX:
            if frame.type == Type.HELLO_REPLY:
                self._doubt = self._doubt or Doubt(now)
                self._doubt.announcements += 1
                self._doubt.epoch = frame.epoch
            return b""
        self._doubt = None
        wanted, out = self.connection.receive(frame, now)
        if wanted and int.from_bytes(frame.payload[:4], "little") in self._open:
            if not is_well_formed(frame.type, frame.payload):
                raise TargetError(
                    f"{self.stream.description} sent a message of type {frame.type:#x} that is not as it should be; "
                    "build the firmware from the same version as the host"
                )
            self._waiting.append(frame)
        return out

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
            raise DeviceRestarted(
                f"{self.stream.description} restarted in the middle of the connection; connect again. "
                f"Last lines:\n{self._seen()}"
            )
        if now - doubt.asked > POLL_SECONDS:
            doubt.asked = now
            self._send_ping(0)

    def _send_ping(self, value: int) -> int:
        request = self._next_request()
        payload = messages.Ping.build({"request": request, "value": value})
        self._write(self.connection.unnumbered(Type.PING, payload))
        return request

    def await_answer(self, request: int, wait: float | None = None) -> Frame | None:
        """Wait for the next frame about a request; None when ``wait`` seconds brought none.

        Raises DeviceFailure for ERROR, TargetError when the device went silent or away.
        """
        asked = self._heard = started = self.now()
        pause = PING_SECONDS
        while True:
            frame = self._pick(request)
            if frame is not None and frame.type == Type.ERROR:
                self._open.discard(request)
                error = messages.Error.parse(frame.payload)
                raise DeviceFailure(error.code, error.detail)
            if frame is not None:
                return frame
            now = self.now()
            if wait is not None and now - started > wait:
                return None
            if max(now - self._heard, self.connection.stalled(now)) > self.patience:
                raise TargetError(self._silent())
            if now - max(asked, self._heard) > pause:
                # The longer an op takes, the less is asked.
                pause = min(2 * pause, PING_MAX_SECONDS) if asked > self._heard else PING_SECONDS
                asked = now
                self._send_ping(0)
            self._read(POLL_SECONDS)

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
        while True:
            frame = self.await_answer(request)
            if frame is not None and frame.type == kind:
                self._open.discard(request)
                return frame.payload

    def _silent(self) -> str:
        return (
            f"{self.stream.description} has been silent for {self.patience:.0f} s in the middle of a request; "
            f"reset the device and try again.\nLast lines:\n{self._seen()}"
        )

    def _ask(self, kind: Type, struct: Struct, /, tail: bytes = b"", **values: Any) -> Any:
        """A request that OK answers; returns the OK. Asked again where the device has restarted and is restored."""
        while True:
            try:
                request = self._send(kind, struct, tail, **values)
                return messages.Ok.parse(self._answer(request, Type.OK))
            except DeviceRestarted:
                if not self.restore:
                    raise
                self.recover()

    # ---- requests ----

    def ping(self) -> float:
        """Seconds until the device answered; a lost PING is said again."""
        start = self.now()
        while True:
            request = self._send_ping(1)
            self._open.add(request)
            frame = self.await_answer(request, PING_SECONDS)
            self._open.discard(request)
            if frame is not None:
                return self.now() - start
            if self.now() - start > self.patience:
                raise TargetError(self._silent())

    def truncate(self, length: int = 0, session: int = 0) -> int:
        """Roll a session back to ``length`` tokens; 0 empties it. Returns its length."""
        self.lengths[session] = int(self._ask(Type.TRUNCATE, messages.Truncate, session=session, length=length).value)
        self.history[session] = self.history.get(session, [])[:length]
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
            if session in self.history:
                self.history[session] += part
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

        def ask(most: int) -> int:
            return self._send_generate(most, params, ids, session, digest)

        return Generation(self, ask(max_tokens), session, progress, Again(ask, max_tokens, tuple(ids)))

    def resume(self, index: int = 0, progress: Callable[[int, int], None] | None = None) -> Generation:
        """The tokens of the GENERATE that runs or ran last, whoever asked for it, from token ``index`` on.

        After ``connect(resume=True)``. TargetError where there was none, DeviceFailure where they are not kept.
        """
        if not self.info.run:
            raise TargetError(f"{self.stream.description} has made no answer that could be resumed")
        self._open.add(self.info.run)
        self.history.pop(self.info.run_session, None)
        self._ask(Type.RESUME, messages.Resume, target=self.info.run, index=index)
        return Generation(self, self.info.run, self.info.run_session, progress, first=index)

    def _send_generate(self, max_tokens: int, params: SamplerParams, ids: list[int], session: int, digest: bool) -> int:
        return self._send(
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
        self._send(Type.CANCEL, messages.Cancel, answered=False, target=target)

    # ---- image and sessions as bytes ----

    def unload(self) -> None:
        """Have the device forget its model and sessions, so that an image can be written."""
        self._ask(Type.UNLOAD, messages.Unload)
        self.lengths.clear()
        self.history.clear()

    def load(self) -> DeviceInfo:
        """Have the device check and load what was written; returns what it then is, perhaps NO_MODEL."""
        self._ask(Type.LOAD, messages.Load)
        self._hello(self._nonce, self.patience)
        self._await_check()
        return self.info

    def checksum(self, space: Space, session: int, offset: int, size: int) -> int:
        """CRC-32C of up to ``messages.SUM_BYTES`` bytes of an image or a session's state on the device."""
        return int(self._ask(Type.SUM, messages.Sum, space=space, session=session, offset=offset, size=size).value)

    def send_write(self, space: Space, session: int, offset: int, data: bytes) -> int:
        """Ask for up to ``messages.MAX_DATA_BYTES`` bytes to be written; ``await_ok`` waits until they are."""
        return self._send(
            Type.WRITE, messages.Write, data, space=space, session=session, offset=offset, count=len(data)
        )

    def await_ok(self, request: int) -> None:
        """Wait until a request was done. DeviceFailure where it was refused."""
        self._answer(request, Type.OK)

    def send_read(self, space: Space, session: int, offset: int, size: int) -> int:
        """Ask for up to ``messages.MAX_DATA_BYTES`` bytes; ``await_data`` waits for them."""
        return self._send(Type.READ, messages.Read, space=space, session=session, offset=offset, size=size)

    def await_data(self, request: int) -> bytes:
        """The bytes that ``send_read`` asked for."""
        return self._answer(request, Type.DATA)[messages.Data.sizeof() :]

    def session_state(self, session: int = 0) -> SessionState:
        """What the session's state is made of."""
        payload = self._answer(self._send(Type.STATE, messages.State, session=session), Type.STATE_REPLY)
        head = messages.StateReply.parse(payload)
        tokens = np.frombuffer(payload, dtype="<u4", offset=messages.StateReply.sizeof())
        return SessionState(head.length, head.high, tuple(int(token) for token in tokens), head.bytes)

    def adopt(self, session: int, length: int, high: int) -> None:
        """Empty a session and give it so many positions, whose state is to be written."""
        self.truncate(0, session)
        answer = self._ask(Type.ADOPT, messages.Adopt, session=session, length=length, high=high)
        self.lengths[session] = int(answer.value)
        self.history.pop(session, None)

    def send_fail(self, kind: Failure) -> None:
        """Break a device whose firmware was built with ``faults=1``, in the middle of whatever it runs."""
        self._send(Type.FAIL, messages.Fail, answered=False, kind=kind)

    # ---- the line ----

    def set_baud(self, baud: int) -> bool:
        """Change the rate of the line. Returns False where nothing came through at it and both ends went back.

        DeviceFailure where the device does not offer it, UsageError where this end of the line has no rate.
        """
        line = self.stream
        if not isinstance(line, SerialStream) or not line.bauds:
            raise UsageError(f"{line.description} has no rate that could be changed; leave --baud out")
        before = line.baud
        self._ask(Type.SET_BAUD, messages.SetBaud, baud=baud)
        line.set_baud(baud)
        if self._comes_through(BAUD_TRY_SECONDS):
            return True
        line.set_baud(before)
        self._pause(2 * BAUD_TRY_SECONDS)
        self.ping()
        return False

    def _comes_through(self, seconds: float) -> bool:
        end = self.now() + seconds
        while self.now() < end:
            request = self._send_ping(2)
            self._open.add(request)
            frame = self.await_answer(request, BAUD_PING_SECONDS)
            self._open.discard(request)
            if frame is not None:
                return True
        return False

    def _pause(self, seconds: float) -> None:
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            self._read(left)

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
            head.frames_repeated,
            head.uptime_us,
        )
