# SPDX-License-Identifier: Apache-2.0
"""A running GENERATE: its tokens as they are sampled, also from a device that restarts meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import google_crc32c

from host.link.frames import Frame
from host.link.records import MAX_TOKENS, Token
from host.link.run import Run, Running
from host.schema.wire import answers
from host.schema.wire.answers import Reason
from host.schema.wire.header import Type


@dataclass(frozen=True)
class Continuation:
    """How to ask for the rest of a GENERATE: ``ask(max_tokens)`` sends it and returns its id."""

    ask: Callable[[int], int]
    max_tokens: int
    stop_ids: tuple[int, ...]


class Generation(Run[Token]):
    """Tokens as they are sampled; ``tokens`` are the ids received so far, also those read by ``cancel``.

    index: the device's number of the token that comes next.
    continuation: how to go on after a restart, where that is wanted; first: index of the first token that will come.
    """

    def __init__(
        self,
        running: Running,
        request: int,
        session: int,
        progress: Callable[[int, int], None] | None,
        continuation: Continuation | None = None,
        first: int = 0,
    ) -> None:
        super().__init__(running, request, session, progress)
        self.tokens: list[int] = []
        self._continuation = continuation
        self._asked_at = -1
        """Tokens that had come when it was last asked for again."""
        self.index = self._first = first
        self._crc: int | None = None if first else 0

    def _ask_again(self) -> bool:
        # A restart while it is asked again is met by the next answer awaited.
        if self._continuation is None:
            return False
        goes_on = self._running.restarts.recover_run(self.request, self.index)
        if goes_on is not False:
            return bool(goes_on)
        self.index, self._crc, self._asked_at = 0, 0, len(self.tokens)
        self._length = self._ledger.lengths.get(self.session)
        self.request = self._continuation.ask(
            0 if self._has_stopped() else self._continuation.max_tokens - len(self.tokens)
        )
        return True

    def _has_stopped(self) -> bool:
        return self._continuation is not None and bool(self.tokens) and self.tokens[-1] in self._continuation.stop_ids

    def _end(self, head: Any) -> None:
        super()._end(head)
        if self._asked_at >= 0 and self.done:
            reason = Reason.STOP if self._has_stopped() else self.done.reason
            self.done = replace(self.done, reason=reason, generated=len(self.tokens))

    def _has_results(self) -> bool:
        return bool(self.tokens)

    def _added(self) -> int:
        return self.index - self._first

    def _most(self) -> int:
        """Tokens that may come in all."""
        info = self._connection.device.info
        most = MAX_TOKENS if self._continuation is None else self._continuation.max_tokens
        return most if info.overflow else min(most, info.context + 1)

    def _result(self, frame: Frame) -> None:
        vocab = self._connection.device.info.vocab
        if frame.type != Type.TOKENS:
            raise self._line.faulty(f"answered GENERATE by a message of type {frame.type:#x}")
        head = answers.Tokens.parse(frame.payload)
        if head.index != self.index or not head.count:
            raise self._line.faulty(f"sent {head.count} tokens from {head.index} on, where {self.index} is awaited")
        if len(self.tokens) + head.count > self._most():
            raise self._line.faulty(f"sent more than {self._most()} tokens, the most that can come")
        self._got_on()
        self._running.restarts.note_result()
        self.index += head.count
        for i in range(head.count):
            at = answers.Tokens.sizeof() + i * answers.TokenRecord.sizeof()
            record = answers.TokenRecord.parse(frame.payload[at:])
            if record.token >= vocab:
                raise self._line.faulty(f"sent token {record.token} of a vocabulary of {vocab}")
            self.tokens.append(record.token)
            self._ledger.sampled(self.session, record.token)
            if self._crc is not None:
                self._crc = google_crc32c.extend(self._crc, int(record.token).to_bytes(4, "little"))
            self._ready.append(Token(record.token, record.time_us, record.digest))

    def _check(self, head: Any) -> None:
        if head.generated != self.index or self._crc not in (None, head.tokens_crc):
            raise self._line.faulty(f"sampled {head.generated} tokens, and sent {self.index} or others")
