# SPDX-License-Identifier: Apache-2.0
"""A running GENERATE or SCORE: an iterator of its results that can be cancelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from host.errors import DeviceFailure, DeviceRestarted, TargetError
from host.link.frames import Frame
from host.link.ledger import Ledger
from host.link.records import Done
from host.link.requests import Requests
from host.schema.wire import answers
from host.schema.wire.answers import Reason
from host.schema.wire.header import Type

READING = "reading the prompt"

Result = TypeVar("Result")


class Restarts(Protocol):
    """What is done about a device that restarts while something runs."""

    def note_result(self) -> None:
        """A token or score has come: a device that restarts gets on all the same."""

    def recover_run(self, request: int, index: int) -> bool | None:
        """Recover the device, and have it go on with a GENERATE from token ``index`` on.

        Returns whether the device goes on; None where recovery is not wanted and was not done.
        """


@dataclass
class Running:
    """What the runs of one device share. active: the one whose results are awaited."""

    requests: Requests
    ledger: Ledger
    restarts: Restarts
    active: Run[Any] | None = None


class Run(ABC, Generic[Result]):
    """Results as they arrive; ``done`` is set when the iteration has ended.

    Iterating raises DeviceFailure where the device refuses or fails, TargetError where results were lost on the line
    or the device went away, DeviceFaulty where it gives what was not asked for.
    """

    def __init__(
        self, running: Running, request: int, session: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self.request = request
        self.session = session
        self.done: Done | None = None
        self._running = running
        self._requests = running.requests
        self._connection = running.requests.connection
        self._line = running.requests.connection.line
        self._ledger = running.ledger
        self._cancelled = False
        self._progress = progress
        self._ready: deque[Result] = deque()
        self._since = self._line.spent()
        """When the device last gave a result, or when the caller began to wait for one."""
        self._began = self._since
        self._read = 0
        """Pending tokens that it has evaluated, by its own words."""
        self._length = self._ledger.lengths.get(session)
        """Tokens of the session, where this client knows them."""
        running.active = self

    def __iter__(self) -> Run[Result]:
        return self

    def __next__(self) -> Result:
        self._since = self._line.spent()
        while not self._ready:
            if self.done or self._running.active is not self:
                raise StopIteration
            self._advance()
        return self._ready.popleft()

    def finish(self) -> Done:
        """Drop what is left of the results and return how the request ended."""
        self._since = self._line.spent()
        while self.done is None:
            self._advance()
            self._ready.clear()
        return self.done

    def cancel(self) -> Done:
        """Have the device stop, and wait until it has. Results that were under way can still be read."""
        if self.done is None:
            self._cancelled = True
            self._requests.send_cancel(self.request)
        self._since = self._line.spent()
        while self.done is None:
            self._advance()
        return self.done

    def _got_on(self) -> None:
        self._since = self._line.spent()

    def _advance(self) -> None:
        """Take the next frame of this request."""
        try:
            told = ("" if self._has_results() else READING, self._began)
            frame = self._connection.await_answer(self.request, since=self._since, told=told)
            if frame is not None:
                self._take(frame)
        except DeviceRestarted:
            self._running.active = None
            if not self._ask_again():
                raise
            self._got_on()
            self._read = 0
            self._running.active = self
            if self._cancelled:
                self._requests.send_cancel(self.request)
        except (DeviceFailure, TargetError):
            self._running.active = None
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
        if head.done > head.total or head.total > self._connection.device.info.pending_limit:
            raise self._line.faulty(f"has read {head.done} of {head.total} tokens")
        if head.done > self._read:  # else the line has doubled it
            self._read = head.done
            self._got_on()
            if self._progress:
                self._progress(head.done, head.total)

    def _end(self, head: Any) -> None:
        self._running.active = None
        self._connection.forget(self.request)
        self._ledger.lengths[self.session] = head.length
        self._check(head)
        info = self._connection.device.info
        if (
            head.evaluated > info.pending_limit + head.generated
            or head.total_us < head.first_us
            or (self._length is not None and head.length != self._length + self._added())
            or (not info.overflow and head.length > info.context + 1)
        ):
            raise self._line.faulty(
                f"says that it has read {head.evaluated} tokens and written {head.generated} in "
                f"{head.first_us} of {head.total_us} us, and that its session has {head.length}"
            )
        values = {name: head[name] for name in Done.__dataclass_fields__}
        self.done = Done(**{**values, "reason": Reason(head.reason)})

    @abstractmethod
    def _has_results(self) -> bool:
        """Whether a result has come. A person who waits then sees that something happens."""

    @abstractmethod
    def _added(self) -> int:
        """Tokens that this run has added to its session since ``_length``."""

    @abstractmethod
    def _result(self, frame: Frame) -> None:
        """Take a frame with results."""

    @abstractmethod
    def _check(self, head: Any) -> None:
        """Raise where DONE tells of results that have not arrived."""
