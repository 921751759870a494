# SPDX-License-Identifier: Apache-2.0
"""The text of one answer, piece by piece, up to a stop text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from host.link.generation import Generation
from host.link.records import Done
from host.tokens.chat_template import TextStream


@dataclass
class Answer:
    """The text of one answer, piece by piece; Ctrl-C while iterating ends it early, with ``done.reason`` CANCELLED.

    Iterate within ``deferred_interrupts``, or Ctrl-C may cut a frame in two.

    ``run`` has all token ids, a stop id at the end included; ``text`` is what was given out so far.
    """

    run: Generation
    stop_ids: tuple[int, ...]
    stream: TextStream
    stops: tuple[str, ...] = ()
    text: str = ""
    tokens: list[dict[str, int]] = field(default_factory=list)
    stopped_by_text: bool = False

    @property
    def done(self) -> Done:
        """How it ended. Only after the iteration."""
        assert self.run.done is not None
        return self.run.done

    def __iter__(self) -> Iterator[str]:
        held = ""
        try:
            for token in self.run:
                self.tokens.append({"id": token.id, "time_us": token.time_us, "digest": token.digest})
                held += "" if token.id in self.stop_ids else self.stream.push(token.id)
                end = min((at for stop in self.stops if (at := held.find(stop)) >= 0), default=-1)
                if end >= 0:
                    self.stopped_by_text = True
                    self.run.cancel()
                    yield self._give(held[:end])
                    return
                safe = len(held) - overlap(held, self.stops)
                yield self._give(held[:safe])
                held = held[safe:]
        except KeyboardInterrupt:
            self.run.cancel()
        yield self._give(held + self.stream.finish())

    def _give(self, text: str) -> str:
        self.text += text
        return text


def overlap(text: str, stops: tuple[str, ...]) -> int:
    """Characters at the end of ``text`` that may be the beginning of a stop text."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return size
    return 0
