# SPDX-License-Identifier: Apache-2.0
"""A running GENERATE or SCORE: an iterator of its results that can be cancelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import google_crc32c
import numpy as np
import numpy.typing as npt

from host.errors import DeviceFailure, DeviceRestarted, TargetError
from host.link.frames import Frame
from host.link.records import MAX_TOKENS, Done, ScoreRow, Token
from host.schema.wire import answers
from host.schema.wire.answers import Reason
from host.schema.wire.constants import NO_TOKEN
from host.schema.wire.header import Type
from host.schema.wire.payload import flat

if TYPE_CHECKING:
    from host.link.client import Client

LOGITS = flat(answers.Logits)
READING = "reading the prompt"

Result = TypeVar("Result")


class Run(ABC, Generic[Result]):
    """Results as they arrive; ``done`` is set when the iteration has ended.

    Iterating raises DeviceFailure where the device refuses or fails, TargetError where results were lost on the line
    or the device went away, DeviceFaulty where it gives what was not asked for.
    """

    def __init__(self, client: Client, request: int, session: int, progress: Callable[[int, int], None] | None) -> None:
        self.request = request
        self.session = session
        self.done: Done | None = None
        self._client = client
        self._cancelled = False
        self._progress = progress
        self._ready: deque[Result] = deque()
        self._since = client.spent()
        """When the device was last seen to get on, while somebody waits for it."""
        self._began = self._since
        self._read = 0
        """Pending tokens that it has evaluated, by its own words."""
        self._length = client.lengths.get(session)
        """Tokens of the session, where this client knows them."""
        client.active = self

    def __iter__(self) -> Run[Result]:
        return self

    def __next__(self) -> Result:
        self._since = self._client.spent()
        while not self._ready:
            if self.done or self._client.active is not self:
                raise StopIteration
            self._advance()
        return self._ready.popleft()

    def finish(self) -> Done:
        """Drop what is left of the results and return how the request ended."""
        self._since = self._client.spent()
        while self.done is None:
            self._advance()
            self._ready.clear()
        return self.done

    def cancel(self) -> Done:
        """Have the device stop, and wait until it has. Results that were under way can still be read."""
        if self.done is None:
            self._cancelled = True
            self._client.send_cancel(self.request)
        self._since = self._client.spent()
        while self.done is None:
            self._advance()
        return self.done

    def _got_on(self) -> None:
        self._since = self._client.spent()

    def _advance(self) -> None:
        """Take the next frame of this request."""
        try:
            told = ("" if self._has_results() else READING, self._began)
            frame = self._client.await_answer(self.request, since=self._since, told=told)
            if frame is not None:
                self._take(frame)
        except DeviceRestarted:
            self._client.active = None
            if not self._ask_again():
                raise
            self._got_on()
            self._read = 0
            self._client.active = self
            if self._cancelled:
                self._client.send_cancel(self.request)
        except (DeviceFailure, TargetError):
            self._client.active = None
            raise

    def _ask_again(self) -> bool:
        """After a restart: have the device go on, as ``request``. Returns whether it does."""
        return False

    def _take(self, frame: Frame) -> None:
        if frame.type == Type.PROGRESS:
            self._take_progress(answers.Progress.parse(frame.payload))
        elif frame.type == Type.DONE:
            self._end(answers.Done.parse(frame.payload))
        else:
            self._result(frame)

    def _take_progress(self, head: Any) -> None:
        if head.done > head.total or head.total > self._client.info.pending_limit:
            raise self._client.faulty(f"has read {head.done} of {head.total} tokens")
        if head.done > self._read:  # else the line has doubled it
            self._read = head.done
            self._got_on()
            if self._progress:
                self._progress(head.done, head.total)

    def _end(self, head: Any) -> None:
        self._client.active = None
        self._client.forget(self.request)
        self._client.lengths[self.session] = head.length
        self._check(head)
        info = self._client.info
        if (
            head.evaluated > info.pending_limit + head.generated
            or head.total_us < head.first_us
            or (self._length is not None and head.length != self._length + self._added())
            or (not info.overflow and head.length > info.context + 1)
        ):
            raise self._client.faulty(
                f"says that it has read {head.evaluated} tokens and written {head.generated} in "
                f"{head.first_us} of {head.total_us} us, and that its session has {head.length}"
            )
        values = {name: head[name] for name in Done.__dataclass_fields__}
        self.done = Done(**{**values, "reason": Reason(head.reason)})

    @abstractmethod
    def _has_results(self) -> bool:
        """Whether a result has come, so that whoever waits sees that something happens."""

    @abstractmethod
    def _added(self) -> int:
        """Tokens that this run has added to its session since ``_length``."""

    @abstractmethod
    def _result(self, frame: Frame) -> None:
        """Take a frame with results."""

    @abstractmethod
    def _check(self, head: Any) -> None:
        """Raise where DONE tells of results that have not arrived."""


@dataclass(frozen=True)
class Again:
    """How to ask for the rest of a GENERATE: ``ask(max_tokens)`` sends it and returns its id."""

    ask: Callable[[int], int]
    max_tokens: int
    stop_ids: tuple[int, ...]


class Generation(Run[Token]):
    """Tokens as they are sampled; ``tokens`` are the ids received so far, also those read by ``cancel``.

    index: the device's number of the token that comes next.
    again: how to go on after a restart, where the client restores; first: index of the first token that will come.
    """

    def __init__(
        self,
        client: Client,
        request: int,
        session: int,
        progress: Callable[[int, int], None] | None,
        again: Again | None = None,
        first: int = 0,
    ) -> None:
        super().__init__(client, request, session, progress)
        self.tokens: list[int] = []
        self._again = again
        self._asked_at = -1
        """Tokens that had come when it was last asked for again."""
        self.index = self._first = first
        self._crc: int | None = None if first else 0

    def _ask_again(self) -> bool:
        # A restart while it is asked again is met by the next answer awaited.
        if self._again is None or not self._client.restore:
            return False
        if self._client.recover(self):
            return True
        self.index, self._crc, self._asked_at = 0, 0, len(self.tokens)
        self._length = self._client.lengths.get(self.session)
        self.request = self._again.ask(0 if self._has_stopped() else self._again.max_tokens - len(self.tokens))
        return True

    def _has_stopped(self) -> bool:
        return self._again is not None and bool(self.tokens) and self.tokens[-1] in self._again.stop_ids

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
        info = self._client.info
        most = MAX_TOKENS if self._again is None else self._again.max_tokens
        return most if info.overflow else min(most, info.context + 1)

    def _result(self, frame: Frame) -> None:
        client = self._client
        if frame.type != Type.TOKENS:
            raise client.faulty(f"answered GENERATE by a message of type {frame.type:#x}")
        head = answers.Tokens.parse(frame.payload)
        if head.index != self.index or not head.count:
            raise client.faulty(f"sent {head.count} tokens from {head.index} on, where {self.index} is awaited")
        if len(self.tokens) + head.count > self._most():
            raise client.faulty(f"sent more than {self._most()} tokens, the most that can come")
        self._got_on()
        client.note_result()
        self.index += head.count
        history = self._client.history.get(self.session, [])
        for i in range(head.count):
            at = answers.Tokens.sizeof() + i * answers.TokenRecord.sizeof()
            record = answers.TokenRecord.parse(frame.payload[at:])
            if record.token >= client.info.vocab:
                raise client.faulty(f"sent token {record.token} of a vocabulary of {client.info.vocab}")
            self.tokens.append(record.token)
            history.append(record.token)
            if self._crc is not None:
                self._crc = google_crc32c.extend(self._crc, int(record.token).to_bytes(4, "little"))
            self._ready.append(Token(record.token, record.time_us, record.digest))

    def _check(self, head: Any) -> None:
        if head.generated != self.index or self._crc not in (None, head.tokens_crc):
            raise self._client.faulty(f"sampled {head.generated} tokens, and sent {self.index} or others")


class Scoring(Run[ScoreRow]):
    """Scores of one position after the other; with ``vocab`` each waits for its row of logits, f32 [vocab]."""

    def __init__(
        self,
        client: Client,
        request: int,
        session: int,
        progress: Callable[[int, int], None] | None,
        vocab: int,
    ) -> None:
        super().__init__(client, request, session, progress)
        self._vocab = vocab
        self._rows = 0
        self._position: int | None = None
        self._scored: deque[Any] = deque()
        self._logits: npt.NDArray[np.float32] | None = None
        self._filled = 0

    def _has_results(self) -> bool:
        return self._rows > 0

    def _added(self) -> int:
        return 0

    def _result(self, frame: Frame) -> None:
        if frame.type == Type.SCORES:
            self._scores(frame.payload)
        elif frame.type == Type.LOGITS and self._vocab:
            self._part(frame.payload)
        else:
            raise self._client.faulty(f"answered SCORE by a message of type {frame.type:#x}")
        self._got_on()
        self._client.note_result()

    def _scores(self, payload: bytes) -> None:
        head = answers.Scores.parse(payload)
        most = self._client.info.pending_limit if self._length is None else self._length
        if head.index != self._rows or not 0 < head.count <= most - self._rows:
            raise self._client.faulty(
                f"sent {head.count} scores from row {head.index} on, where {self._rows} is awaited"
            )
        self._rows += head.count
        for i in range(head.count):
            at = answers.Scores.sizeof() + i * answers.ScoreRecord.sizeof()
            record = answers.ScoreRecord.parse(payload[at:])
            self._check_record(record)
            if self._vocab:
                self._scored.append(record)
            else:
                self._ready.append(self._row(record, None))

    def _check_record(self, record: Any) -> None:
        vocab = self._client.info.vocab
        known = record.target == NO_TOKEN or record.target < vocab
        if not known or record.argmax >= vocab or self._position not in (None, record.position):
            raise self._client.faulty(
                f"scored position {record.position} with tokens {record.target} and {record.argmax}, where "
                f"{self._position} of a vocabulary of {vocab} is awaited"
            )
        self._position = record.position + 1

    def _row(self, record: Any, logits: npt.NDArray[np.float32] | None) -> ScoreRow:
        target = None if record.target == NO_TOKEN else int(record.target)
        return ScoreRow(record.position, target, record.logprob, record.argmax, record.digest, logits)

    def _part(self, payload: bytes) -> None:
        _request, position, first, count = LOGITS.unpack_from(payload)
        values = np.frombuffer(payload, dtype="<f4", offset=LOGITS.size, count=count)
        expected = self._scored[0].position if self._scored else None
        if position != expected or first != self._filled or not 0 < count <= self._vocab - self._filled:
            raise self._client.faulty(
                f"sent {count} logits of position {position} from {first} on, where {self._filled} of {expected} "
                "is awaited"
            )
        if self._logits is None:
            self._logits = np.empty(self._vocab, dtype=np.float32)
        self._logits[self._filled : self._filled + count] = values
        self._filled += count
        if self._filled == self._vocab:
            self._ready.append(self._row(self._scored.popleft(), self._logits))
            self._logits, self._filled = None, 0

    def _check(self, head: Any) -> None:
        if head.reason != Reason.CANCELLED and (head.evaluated != self._rows or self._scored):
            raise self._client.faulty(f"has scored {head.evaluated} positions, and sent {self._rows}")
