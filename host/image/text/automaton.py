# SPDX-License-Identifier: Apache-2.0
"""Regular expressions as automata over classes of characters, for a device without a matcher.

An automaton finds what a backtracking matcher finds, of which alternatives are tried in their order: its states are
ordered lists of positions in the pattern, and what stands behind a position that matched is dropped (as RE2 does it,
https://swtch.com/~rsc/regexp/regexp3.html). A look at the one next character is known when that character is read, so
a match is noted with the step that reads the character behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from host.image.text.charsets import CODES, Set
from host.image.text.pattern import Ahead, Cat, Either, Node, One, Repeat, Unsupported

DEAD, MATCH = 0x7FFF, 0x8000
Classes = npt.NDArray[np.uint8]
"""uint8 [CODES], a class of each character."""
MAX_STATES, MAX_CLASSES, MAX_POSITIONS, MAX_VISITS = 4096, 255, 20_000, 2_000_000


def classes_table(members: Classes, count: int, states: int = 0) -> bytes:
    """Head and runs of an automaton: uint8 [CODES], the class of each character."""
    starts = np.flatnonzero(np.concatenate(([True], members[1:] != members[:-1])))
    runs = (starts.astype(np.uint32) << 8) | members[starts]
    return np.array([len(starts), count, states], "<u4").tobytes() + runs.astype("<u4").tobytes()


def partition(sets: list[Set]) -> tuple[Classes, list[tuple[bool, ...]]]:
    """Class of each character, uint8 [CODES], and which of the sets each class belongs to."""
    change = np.zeros(CODES, np.bool_)
    change[0] = True
    for one in sets:
        change[1:] |= one[1:] != one[:-1]
    starts = np.flatnonzero(change)
    found: dict[tuple[bool, ...], int] = {}
    numbers = [
        found.setdefault(tuple(bool(value) for value in row), len(found))
        for row in (np.array([one[starts] for one in sets]).T if sets else np.zeros((len(starts), 0), np.bool_))
    ]
    if len(found) > MAX_CLASSES:
        raise Unsupported("its pattern tells too many kinds of characters apart")
    lengths = np.diff(np.append(starts, CODES))
    return np.repeat(np.array(numbers, np.uint8), lengths), list(found)


State = tuple[int, ...]
"""Positions in a pattern, in the order in which they are tried."""


@dataclass
class _Program:
    """Positions of a pattern: each a set of characters to step over, an assertion, or a list of others to try."""

    sets: list[Set] = field(default_factory=list)
    steps: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)
    visits: int = 0

    def put(self, kind: str, value: int, following: tuple[int, ...]) -> int:
        if len(self.steps) >= MAX_POSITIONS:
            raise Unsupported("its pattern is too long")
        self.steps.append((kind, value, following))
        return len(self.steps) - 1

    def set_number(self, members: Set) -> int:
        for number, known in enumerate(self.sets):
            if np.array_equal(known, members):
                return number
        self.sets.append(members)
        return len(self.sets) - 1

    def compile(self, node: Node, following: int) -> int:
        """The position where a node begins, which goes on at ``following``."""
        if isinstance(node, One):
            return self.put("one", self.set_number(node.members), (following,))
        if isinstance(node, Ahead):
            return self.put("end" if node.end else "ahead", self.set_number(node.members), (following,))
        if isinstance(node, Cat):
            for part in reversed(node.parts):
                following = self.compile(part, following)
            return following
        if isinstance(node, Either):
            return self.put("try", 0, tuple(self.compile(each, following) for each in node.choices))
        return self.repeat(node, following)

    def repeat(self, node: Repeat, following: int) -> int:
        if node.most is None:
            loop = self.put("try", 0, ())
            inner = self.compile(node.node, loop)
            self.steps[loop] = ("try", 0, (inner, following) if node.greedy else (following, inner))
            start = loop
        else:
            start = following
            for _ in range(node.most - node.least):
                inner = self.compile(node.node, start)
                start = self.put("try", 0, (inner, following) if node.greedy else (following, inner))
        for _ in range(node.least):
            start = self.compile(node.node, start)
        return start


def table(node: Node, translate: Mapping[int, int]) -> bytes:
    """The automaton of a pattern as firmware/tokenizer/characters.h reads it.

    translate: codes that stand in the text for other ones. Raises Unsupported, also where it matches
    nothing at all.
    """
    program = _Program()
    match = program.put("match", 0, ())
    start = program.compile(node, match)
    members, kinds = partition(program.sets)
    members[list(translate)] = members[list(translate.values())]
    first: State = (start,)
    rows, numbers, waiting = [], {first: 0}, [first]
    while waiting:
        state, row = waiting.pop(0), []
        for kind in [*kinds, None]:
            matched, following = _step(program, state, kind)
            if matched and state == first:
                raise Unsupported("its pattern matches where nothing stands")
            if following and following not in numbers:
                numbers[following] = len(numbers)
                waiting.append(following)
            row.append((numbers[following] if following else DEAD) | (MATCH if matched else 0))
        rows.append(row)
        if len(numbers) > MAX_STATES:
            raise Unsupported("its pattern has too many states")
    entries = np.array(rows, "<u2").tobytes()
    return classes_table(members, len(kinds), len(rows)) + entries + bytes(-len(entries) % 4)


def _step(program: _Program, state: State, kind: tuple[bool, ...] | None) -> tuple[bool, State]:
    """Whether the pattern matches before a character of this class (None: the text's end), and the state behind it."""
    seen: set[int] = set()
    found: list[int] = []
    stack = list(reversed(state))
    while stack:
        at = stack.pop()
        program.visits += 1
        if program.visits > MAX_VISITS:
            raise Unsupported("its pattern has too many states")
        if at in seen:
            continue
        seen.add(at)
        what, value, following = program.steps[at]
        if what == "match":
            return True, tuple(dict.fromkeys(found))
        if what == "one":
            if kind is not None and kind[value]:
                found.append(following[0])
        elif what == "try":
            stack += reversed(following)
        elif kind[value] if kind is not None else what == "end":
            stack.append(following[0])
    return False, tuple(dict.fromkeys(found))
