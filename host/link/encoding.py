# SPDX-License-Identifier: Apache-2.0
"""A running ENCODE: what an encoder makes of one text."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from host.link.frames import Frame
from host.link.run import Run, Running
from host.link.scoring import LOGITS
from host.schema.wire.answers import Reason
from host.schema.wire.header import Type


class Encoding(Run[npt.NDArray[np.float32]]):
    """Results in order, f32 [width] each: one of the text, or one a token of it."""

    def __init__(self, running: Running, request: int, session: int, results: int, width: int) -> None:
        super().__init__(running, request, session, None)
        self._results, self._width = results, width
        self._got = 0
        self._row = np.empty(width, dtype=np.float32)
        self._filled = 0

    def _has_results(self) -> bool:
        return self._got > 0

    def _added(self) -> int:
        """The session is empty again."""
        return -(self._length or 0)

    def _result(self, frame: Frame) -> None:
        if frame.type != Type.LOGITS:
            raise self._line.faulty(f"answered ENCODE by a message of type {frame.type:#x}")
        _request, number, first, count = LOGITS.unpack_from(frame.payload)
        fits = 0 < count <= self._width - self._filled and self._got < self._results
        if number != self._got or first != self._filled or not fits:
            raise self._line.faulty(
                f"sent {count} values of result {number} from {first} on, where {self._filled} of {self._got} (of "
                f"{self._results}) is awaited"
            )
        self._row[first : first + count] = np.frombuffer(frame.payload, dtype="<f4", offset=LOGITS.size, count=count)
        self._filled += count
        if self._filled == self._width:
            self._ready.append(self._row)
            self._row, self._filled = np.empty(self._width, dtype=np.float32), 0
            self._got += 1
        self._got_on()
        self._running.restarts.note_result()

    def _check(self, head: Any) -> None:
        if head.reason != Reason.CANCELLED and self._got != self._results:
            raise self._line.faulty(f"has sent {self._got} of {self._results} results")
        self._ledger.rolled_back(self.session, head.length)
