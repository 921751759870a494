# SPDX-License-Identifier: Apache-2.0
"""A running SCORE: the scores of one position after the other, and their logits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from host.link.frames import Frame
from host.link.records import ScoreRow
from host.link.run import Run, Running
from host.schema.wire import answers
from host.schema.wire.answers import Reason
from host.schema.wire.constants import NO_TOKEN
from host.schema.wire.header import Type
from host.schema.wire.payload import flat

LOGITS = flat(answers.Logits)


class Scoring(Run[ScoreRow]):
    """Scores of one position after the other; with ``vocab`` each waits for its row of logits, f32 [vocab]."""

    def __init__(
        self,
        running: Running,
        request: int,
        session: int,
        progress: Callable[[int, int], None] | None,
        vocab: int,
    ) -> None:
        super().__init__(running, request, session, progress)
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
            raise self._line.faulty(f"answered SCORE by a message of type {frame.type:#x}")
        self._got_on()
        self._running.restarts.note_result()

    def _scores(self, payload: bytes) -> None:
        head = answers.Scores.parse(payload)
        most = self._connection.device.info.pending_limit if self._length is None else self._length
        if head.index != self._rows or not 0 < head.count <= most - self._rows:
            raise self._line.faulty(f"sent {head.count} scores from row {head.index} on, where {self._rows} is awaited")
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
        vocab = self._connection.device.info.vocab
        known = record.target == NO_TOKEN or record.target < vocab
        if not known or record.argmax >= vocab or self._position not in (None, record.position):
            raise self._line.faulty(
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
            raise self._line.faulty(
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
            raise self._line.faulty(f"has scored {head.evaluated} positions, and sent {self._rows}")
