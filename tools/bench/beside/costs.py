# SPDX-License-Identifier: Apache-2.0
"""What a run costs each side, and from the costs of several turns what a token costs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, TypeVar


@dataclass(frozen=True)
class Spent:
    """One run, seconds: processor time of the whole process, and wall time to the first and to the last token."""

    cpu: float
    first: float
    total: float


class Side(Protocol):
    """A program that reads prompts and answers greedily, each from an empty context."""

    def run(self, prompt: int, generate: int) -> Spent:
        """A prompt of so many tokens and an answer of so many. Raises TargetError."""


@dataclass(frozen=True)
class Cost:
    """Seconds a token, prefill and decode, by processor time and by the wall."""

    cpu_prefill: float
    cpu_decode: float
    wall_prefill: float
    wall_decode: float


@dataclass(frozen=True)
class Pass:
    """Seconds of reading a buffer once: processor time of the slowest thread, and wall time."""

    cpu: float
    wall: float


Figures = TypeVar("Figures", Cost, Pass)


def turn(side: Side, prompt: int, decode: int) -> Cost:
    """From three runs: the prompt; one token and an answer; and what such a run costs beside the answer's steps.

    The first token's sampling belongs to the prompt.
    """
    read = side.run(prompt, 1)
    answered, one = side.run(1, decode + 1), side.run(1, 1)
    return Cost(
        cpu_prefill=read.cpu / prompt,
        cpu_decode=(answered.cpu - one.cpu) / decode,
        wall_prefill=read.first / prompt,
        wall_decode=(answered.total - answered.first) / decode,
    )


def median(figures: Sequence[Figures]) -> Figures:
    """Each of the figures, all of one kind, over the turns."""
    kind = type(figures[0])
    return kind(*(statistics.median(getattr(one, f.name) for one in figures) for f in fields(kind)))


def in_turns(
    ours: Side, theirs: Side, read: Callable[[], Pass], prompt: int, decode: int, turns: int
) -> tuple[Cost, Cost, Pass]:
    """The medians of both sides and of the memory; one turn of each comes first and is not counted."""
    found = [(turn(ours, prompt, decode), turn(theirs, prompt, decode), read()) for _ in range(turns + 1)]
    one, other, memory = zip(*found[1:], strict=True)
    return median(one), median(other), median(memory)
