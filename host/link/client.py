# SPDX-License-Identifier: Apache-2.0
"""The host end of the protocol: requests to a device and their answers, over any byte stream.

Everything happens in the caller's thread, so Ctrl-C works at any time; after a KeyboardInterrupt ``cancel`` ends
what the device still runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import google_crc32c
import numpy as np
from construct import Struct

from host.errors import DeviceFailure, DeviceFaulty, DeviceRestarted, TargetError, UsageError
from host.link import limits
from host.link.endpoint import PING_SECONDS, POLL_SECONDS, Endpoint
from host.link.frames import Damaged, Frame, Text
from host.link.records import DeviceInfo, DeviceStats, Done, OpCost, SamplerParams, SessionState
from host.link.runs import Again, Generation, Run, Scoring
from host.link.stream import ByteStream, SerialStream, has_rate
from host.schema.wire import answers, requests
from host.schema.wire.constants import BAUD_TRY_US, MAX_STOP_IDS
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState
from host.schema.wire.messages import MAX_PROMPT_TOKENS
from host.schema.wire.requests import Failure, RunFlag, Space, StatsFlag

BAUD_TRY_SECONDS = BAUD_TRY_US / 1e6 * 0.8
"""Less than the device waits, so that it does not go back behind a PING that came through."""
BAUD_PING_SECONDS = 0.1
PENDING = 70
"""Error of a device whose queue of tokens to be evaluated is full."""
GOES_ON = "is back; the answer goes on"
AS_IT_WAS = "is back; its sessions are as they were"
RESTORED = "restarted; its sessions are restored"


class Client(Endpoint):
    """One device on one byte stream.

    console: called with each text line that arrives outside frames. patience: seconds without any byte after which
    a device is given up; it is asked by PING in between. clock: seconds, where the stream is simulated with a time of
    its own. restore: when the device restarts, connect again, give its sessions back what they held and go on with what
    was asked, telling ``console``; else DeviceRestarted is raised. reopen: a new stream where the old one has ended,
    such as a simulator's; that is then a restart, too. away: seconds for which it is tried again, for a cable.
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
        away: float = 0.0,
    ) -> None:
        super().__init__(stream, console, patience, trace, clock, reopen, away)
        self.restore = restore
        self.lengths: dict[int, int] = {}
        self.history: dict[int, list[int]] = {}
        """Tokens of each session that this client has filled."""
        self.active: Run[Any] | None = None
        self.most_state = 0
        """Bytes of a session's state, at most, where this host knows the image; else what the device says counts."""
        self._restarts = self._returns = 0
        """Of the device, and of a line that was away, since the last token or score came."""

    # ---- connecting ----

    def connect(self, timeout: float = 15.0, resume: bool = False) -> DeviceInfo:
        """Say hello until the device answers and has checked its image.

        timeout: seconds since the last byte heard, and twice as many in all, for a shell has words for every hello;
        once its boot report is seen ``patience`` takes its place, so that a device can check the image. resume: leave
        running what an earlier host started, for ``resume``; else it is cancelled. Raises TargetError when nothing
        answers, or in another protocol version.
        """
        self._attach(timeout)
        if self.info.state == DeviceState.RUNNING and not resume:
            self._stop_stranger()
        return self.info

    def _stop_stranger(self) -> None:
        """Cancel what an earlier host left running, and wait until it has ended."""
        deadline = self.now() + self.patience
        while self.now() < deadline:
            if not self._ask(Type.CANCEL, requests.Cancel, target=0).value:
                return
            self._read(POLL_SECONDS)
        raise TargetError(f"{self.stream.description} does not end the request that it was running; reset it")

    def recover(self, run: Generation | None = None) -> bool:
        """Connect to a device that has restarted, or whose line was away, and give its sessions back what they held.

        Returns whether the device has gone on with ``run``, whose next results then come by themselves. Raises
        TargetError when it does not come back, or runs another image; DeviceFaulty when it restarts again and again
        without a token in between.
        """
        before, held = self.info, {session: list(tokens) for session, tokens in self.history.items()}
        restore, self.restore = self.restore, False
        try:
            while True:
                reason = self._note_restart()
                try:
                    words = self._restore(before, held, run)
                    break
                except DeviceRestarted:
                    continue
        finally:
            self.restore, self.history = restore, held
        if words != RESTORED and not reason and self.info.uptime_us >= before.uptime_us:
            self._note_return()
        if self.console:
            self.console(f"[{self.stream.description} {words}{f' ({reason})' if reason else ''}]")
        return words == GOES_ON

    def note_result(self) -> None:
        """A token or score has come: what restarts is getting on."""
        self._restarts = self._returns = 0

    def _note_restart(self) -> str:
        """Returns the firmware's last words. DeviceFaulty at one restart too many."""
        self._restarts += 1
        if self._restarts <= limits.MOST_RESTARTS:
            return self.failure
        why = f"Its last words were: {self.failure}. " if self.failure else ""
        raise DeviceFaulty(
            f"{self.stream.description} has restarted {self._restarts} times and given no token in between. {why}"
            "A watchdog ends an op that takes too long, so the model may be too large for this target, or its time too "
            "short (watchdog= of scons); a trap is a fault of the firmware.\n"
            f"Last lines:\n{self._seen()}"
        )

    def _note_return(self) -> None:
        """What looked like a restart was a line that had been away."""
        self._restarts -= 1
        self._returns += 1
        if self._returns > limits.MOST_RETURNS:
            raise DeviceFaulty(
                f"{self.stream.description} has been away {self._returns} times and given no token in between; "
                "check the cable"
            )

    def _restore(self, before: DeviceInfo, held: dict[int, list[int]], run: Generation | None) -> str:
        """Returns in words what was found."""
        self.connect(self.patience, resume=run is not None)
        if self.info.root != before.root:
            raise TargetError(f"{self.stream.description} restarted with another image; open it again with that one")
        for name in limits.OF_MODEL:
            if getattr(self.info, name) != getattr(before, name):
                raise self.faulty(f"says that the {name} of the same image is another one now")
        if run is not None and self._take_up(run.request, run.index):
            return GOES_ON
        if self.info.state == DeviceState.RUNNING and run is not None:
            self._stop_stranger()
        self.lengths.clear()
        self.history = {}
        kept = [self._give_back(tokens, session) for session, tokens in held.items()]
        return AS_IT_WAS if all(kept) else RESTORED

    def _give_back(self, tokens: list[int], session: int) -> bool:
        """Make a session hold these tokens, the last of them pending. Returns whether it held those before."""
        kept = self._still_holds(tokens[:-1], session)
        self.prompt(tokens[-1:] if kept else tokens, session)
        return kept

    def _still_holds(self, tokens: list[int], session: int) -> bool:
        """Whether a session begins with these tokens, as where only the line was away; it is then rolled back to them.

        Those evaluated are compared by their checksum.
        """
        try:
            state = self.session_state(session)
            done, left = tokens[: state.length], tokens[state.length :]
            data = np.asarray(done, dtype="<u4").tobytes()
            if tuple(left) != state.pending[: len(left)]:
                return False
            if data and self.checksum(Space.SESSION, session, 0, len(data)) != google_crc32c.value(data):
                return False
            self.truncate(len(tokens), session)
        except DeviceFailure:
            return False
        return True

    def _take_up(self, request: int, index: int) -> bool:
        """Have the device send the rest of a GENERATE from token ``index`` on. Returns whether it still knows it."""
        if self.info.run != request:
            return False
        self._open.add(request)
        try:
            self._ask(Type.RESUME, requests.Resume, target=request, index=index)
        except DeviceFailure:
            self._open.discard(request)
            return False
        return True

    def require_model(self) -> None:
        """Raise DeviceFailure with the device's own error when it has no valid model."""
        if self.info.state == DeviceState.NO_MODEL:
            raise DeviceFailure(self.info.error, self.info.detail)

    def _ask(self, kind: Type, struct: Struct, /, tail: bytes = b"", **values: Any) -> Any:
        """A request that OK answers; returns the OK."""
        return answers.Ok.parse(self._ask_for(Type.OK, kind, struct, tail, **values))

    def _ask_for(self, answer: Type, kind: Type, struct: Struct, /, tail: bytes = b"", **values: Any) -> bytes:
        """A request with one answer; returns its payload. Asked again where the device has restarted."""
        while True:
            try:
                return self._answer(self._send(kind, struct, tail, **values), answer)
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
        now = int(self._ask(Type.TRUNCATE, requests.Truncate, session=session, length=length).value)
        if now != length:
            raise self.faulty(f"has rolled a session back to {now} tokens instead of {length}")
        self.lengths[session] = now
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
        for first in range(0, len(tokens), MAX_PROMPT_TOKENS):
            part = tokens[first : first + MAX_PROMPT_TOKENS]
            try:
                self._push(part, session)
            except DeviceFailure as failure:
                if failure.number != PENDING:
                    raise
                # What fills the queue may be of other sessions, too: only the device knows its room.
                try:
                    self.generate(0, session=session).finish()
                except DeviceFailure:
                    raise failure from None
                self._push(part, session)
        return self.length(session)

    def _push(self, part: Sequence[int], session: int) -> None:
        tail = np.asarray(part, dtype="<u4").tobytes()
        position = self.length(session)
        answer = self._ask(Type.PROMPT, requests.Prompt, tail=tail, session=session, position=position, count=len(part))
        if answer.value != position + len(part):
            raise self.faulty(f"has {answer.value} tokens in a session that was given {position + len(part)}")
        self.lengths[session] = position + len(part)
        if session in self.history:
            self.history[session] += part

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
        ids = list(stop_ids)[:MAX_STOP_IDS]

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
        self.lengths.pop(self.info.run_session, None)
        self._ask(Type.RESUME, requests.Resume, target=self.info.run, index=index)
        return Generation(self, self.info.run, self.info.run_session, progress, first=index)

    def _send_generate(self, max_tokens: int, params: SamplerParams, ids: list[int], session: int, digest: bool) -> int:
        return self._send(
            Type.GENERATE,
            requests.Generate,
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
            stop_ids=ids + [0] * (MAX_STOP_IDS - len(ids)),
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
        request = self._send(Type.SCORE, requests.Score, session=session, flags=flags)
        return Scoring(self, request, session, progress, self.info.vocab if logits else 0)

    def cancel(self) -> Done | None:
        """End what this client has running and wait until it has ended. Returns how; None when nothing ran."""
        return self.active.cancel() if self.active else None

    def send_cancel(self, target: int) -> None:
        """Ask the device to stop the request ``target``; its DONE tells when it has."""
        self._send(Type.CANCEL, requests.Cancel, answered=False, target=target)

    # ---- image and sessions as bytes ----

    def unload(self) -> None:
        """Have the device forget its model and sessions, so that an image can be written."""
        self._ask(Type.UNLOAD, requests.Unload)
        self.lengths.clear()
        self.history.clear()

    def load(self) -> DeviceInfo:
        """Have the device check and load what was written; returns what it then is, perhaps NO_MODEL."""
        self._ask(Type.LOAD, requests.Load)
        self._hello(self.patience)
        self._await_check()
        return self.info

    def flash(self, size: int) -> DeviceInfo:
        """Have the device load the ``size`` bytes in its slot, and try them at the next boots; returns as load()."""
        self._ask(Type.FLASH, requests.Flash, bytes=size)
        self._hello(self.patience)
        self._await_check()
        return self.info

    def checksum(self, space: Space, session: int, offset: int, size: int) -> int:
        """CRC-32C of up to ``SUM_BYTES`` bytes of an image or a session's state on the device."""
        return int(self._ask(Type.SUM, requests.Sum, space=space, session=session, offset=offset, size=size).value)

    def send_write(self, space: Space, session: int, offset: int, data: bytes) -> int:
        """Ask for up to ``MAX_DATA_BYTES`` bytes to be written; ``await_ok`` waits until they are."""
        request = self._send(
            Type.WRITE, requests.Write, data, space=space, session=session, offset=offset, count=len(data)
        )
        self._sizes[request] = (offset, len(data))
        return request

    def await_ok(self, request: int) -> None:
        """Wait until a request was done. DeviceFailure where it was refused."""
        _offset, size = self._sizes.pop(request, (0, None))
        answer = answers.Ok.parse(self._answer(request, Type.OK))
        if size is not None and answer.value != size:
            raise self.faulty(f"has written {answer.value} of {size} bytes")

    def send_read(self, space: Space, session: int, offset: int, size: int) -> int:
        """Ask for up to ``MAX_DATA_BYTES`` bytes; ``await_data`` waits for them."""
        request = self._send(Type.READ, requests.Read, space=space, session=session, offset=offset, size=size)
        self._sizes[request] = (offset, size)
        return request

    def await_data(self, request: int) -> bytes:
        """The bytes that ``send_read`` asked for, all of them."""
        offset, size = self._sizes.pop(request)
        payload = self._answer(request, Type.DATA)
        head = answers.Data.parse(payload)
        if (head.offset, head.count) != (offset, size):
            raise self.faulty(f"sent {head.count} bytes from {head.offset} on instead of {size} from {offset} on")
        return payload[answers.Data.sizeof() :]

    def session_state(self, session: int = 0) -> SessionState:
        """What the session's state is made of. DeviceFaulty where it is more than the model's memory plan has."""
        payload = self._answer(self._send(Type.STATE, requests.State, session=session), Type.STATE_REPLY)
        head = answers.StateReply.parse(payload)
        tokens = np.frombuffer(payload, dtype="<u4", offset=answers.StateReply.sizeof())
        info = self.info
        most = self.most_state or max(info.runtime_bytes, 4 * info.context)
        if head.bytes > most:
            raise self.faulty(f"has {head.bytes} bytes of state in a session, where the model's plan has {most}")
        positions = limits.LIMITS["context"] if info.overflow else info.context
        if not head.length <= head.high <= positions or any(token >= info.vocab for token in tokens):
            raise self.faulty(f"has {head.length} positions in a session, {head.high} at most, or unknown tokens")
        return SessionState(head.length, head.high, tuple(int(token) for token in tokens), head.bytes)

    def adopt(self, session: int, length: int, high: int) -> None:
        """Empty a session and give it so many positions, whose state is to be written."""
        self.truncate(0, session)
        answer = self._ask(Type.ADOPT, requests.Adopt, session=session, length=length, high=high)
        if answer.value != length:
            raise self.faulty(f"has given a session {answer.value} positions instead of {length}")
        self.lengths[session] = length
        self.history.pop(session, None)

    def send_fail(self, kind: Failure) -> None:
        """Break a device whose firmware was built with ``faults=1``, in the middle of whatever it runs."""
        self._send(Type.FAIL, requests.Fail, answered=False, kind=kind)

    # ---- the line ----

    def set_baud(self, baud: int) -> bool:
        """Change the rate of the line. Returns False where nothing came through at it and both ends went back.

        DeviceFailure where the device does not offer it, UsageError where this end of the line has no rate.
        """
        before = self._rated().baud
        self._first_baud, self._spoiled = self._first_baud or before, None
        self._ask(Type.SET_BAUD, requests.SetBaud, baud=baud)
        line = self._rated()
        with suppress(TargetError):  # an adapter or server that cannot make it: then nothing comes through
            line.set_baud(baud)
        if self._comes_through(BAUD_TRY_SECONDS):
            return True
        line.set_baud(before)
        self._pause(2 * BAUD_TRY_SECONDS)
        self.ping()
        return False

    def _rated(self) -> SerialStream:
        if has_rate(self.stream):
            return self.stream
        raise UsageError(f"{self.stream.description} has no rate that could be changed; leave --baud out")

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

    def stats(self, enable: bool | None = None, reset: bool = False) -> DeviceStats:
        """Ask for the cost by op, then switch counting on or off and reset it, where asked for."""
        ops: list[OpCost] = []
        while True:
            payload = self._ask_for(Type.STATS_REPLY, Type.STATS, requests.Stats, flags=0, first=len(ops))
            head = answers.StatsReply.parse(payload)
            if head.total > limits.MOST_OPS or (head.count and head.first != len(ops)):
                raise self.faulty(f"has {head.total} ops, and sent those from {head.first} on instead of {len(ops)}")
            for i in range(head.count):
                at = answers.StatsReply.sizeof() + i * answers.OpRecord.sizeof()
                record = answers.OpRecord.parse(payload[at:])
                ops.append(OpCost(record.id, record.weight, record.calls, record.instret, record.cycles))
            if not head.count or len(ops) >= head.total:
                break
        flags = (StatsFlag.RESET if reset else 0) | (
            0 if enable is None else StatsFlag.ENABLE if enable else StatsFlag.DISABLE
        )
        if flags:
            self._ask_for(Type.STATS_REPLY, Type.STATS, requests.Stats, flags=flags, first=len(ops))
        return DeviceStats(
            ops,
            head.frames_received,
            head.frames_damaged,
            head.frames_duplicate,
            head.frames_lost,
            head.frames_repeated,
            head.uptime_us,
        )
