# SPDX-License-Identifier: Apache-2.0
"""What would fit a board where a model does not: found by trying, one change at a time, then together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from host.schema.formats import formats
from host.schema.weights import WeightFormat

Changes = dict[str, Any]
"""Options of a PackRequest that differ from what was asked for."""
CONTEXT_STEP = 64
"""Positions of a KV page: a context of less takes as much."""
FEW_ROWS = 16


@dataclass(frozen=True)
class Asked:
    """What did not fit, as options' values."""

    weights: str
    kv: str
    context: int
    sessions: int
    rows: int


@dataclass(frozen=True)
class Room:
    """Whether a trial fits the board's memory for images and its arena."""

    image: bool
    arena: bool


Try = Callable[[Changes], Room]
"""Compiles with some changes; weights are not read."""


def _size(one: WeightFormat) -> float:
    """Bytes of 64 rows of a column."""
    return one.record_bytes(one.layouts[0]) / one.columns


def _smaller_weights(asked: Asked, attempt: Try) -> Changes | None:
    """The largest format whose image fits; the smallest for the embedding, too, where nothing else does."""
    names = [one.name for one in sorted(formats().values(), key=_size, reverse=True)]
    smaller = names[names.index(asked.weights) + 1 :]
    for changes in (*({"weights": name} for name in smaller), {"weights": names[-1], "output_weights": names[-1]}):
        if attempt(changes).image:
            return changes
    return None


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest number from ``low`` to ``high`` that fits, by halving; ``low - 1`` where none does."""
    low -= 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _shorter(base: Changes, asked: Asked, attempt: Try) -> Changes | None:
    """The longest context that fits beside other changes."""
    pages = _largest(
        1, (asked.context - 1) // CONTEXT_STEP, lambda n: attempt(base | {"context": n * CONTEXT_STEP}).arena
    )
    return base | {"context": pages * CONTEXT_STEP} if pages else None


def _less_state(base: Changes, asked: Asked, attempt: Try) -> Iterator[Changes]:
    """One change each that makes the arena do: fewer sessions, another cache, a shorter context."""
    if asked.sessions > 1:
        sessions = _largest(1, asked.sessions - 1, lambda n: attempt(base | {"sessions": n}).arena)
        if sessions:
            yield base | {"sessions": sessions}
    if asked.kv != "int8" and attempt(base | {"kv": "int8"}).arena:
        yield base | {"kv": "int8"}
    if shorter := _shorter(base, asked, attempt):
        yield shorter


def _least_state(base: Changes, asked: Asked, attempt: Try) -> Iterator[Changes]:
    """All that there is together: one session, a cache in 8 bits, then fewer rows a step."""
    least = base | ({"sessions": 1} if asked.sessions > 1 else {}) | ({"kv": "int8"} if asked.kv != "int8" else {})
    for each in (least, least | {"rows": FEW_ROWS}) if asked.rows > FEW_ROWS else (least,):
        if attempt(each).arena:
            yield each
            return
        if shorter := _shorter(each, asked, attempt):
            yield shorter
            return


def alternatives(asked: Asked, attempt: Try) -> list[Changes]:
    """Changes that make it fit, each complete; the weights keep as many bits as they can. Empty where nothing does.

    Where no single change leaves the whole context, all of them together are the last.
    """
    now = attempt({})
    base: Changes | None = {} if now.image else _smaller_weights(asked, attempt)
    if base is None:
        return []
    if attempt(base).arena:
        return [base]
    single = list(_less_state(base, asked, attempt))
    whole = any(changes.get("context", asked.context) == asked.context for changes in single)
    return single if whole else [*single, *(one for one in _least_state(base, asked, attempt) if one not in single)]
