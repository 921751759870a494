# SPDX-License-Identifier: Apache-2.0
"""One conversation of a robust host over a line that breaks, and the count of what happened to all of them."""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

from host.errors import HostError
from host.faults import Kind
from host.link.client import Client
from host.link.describe import describe
from host.link.frames import Damaged, Frame, Text
from host.link.generation import Generation
from host.link.records import SamplerParams
from tests.support.lockstep import LockstepLine

PATIENCE = 20.0
"""Seconds without a byte after which the host gives a device up: the documented limit is twice that to connect."""
SESSION_LIMIT = 600.0
"""Seconds on the line's clock after which a session hangs."""
ATTEMPTS = 20
KILL_CHANCE, RESET_CHANCE = 0.2, 0.1
Answer = list[tuple[int, int]]


@dataclass(frozen=True)
class Turn:
    """Tokens that are said, and how many are to be answered, how."""

    prompt: tuple[int, ...]
    count: int
    params: SamplerParams


@dataclass
class Tally:
    """What happened."""

    sessions: int = 0
    complete: int = 0
    connections: int = 0
    tokens: int = 0
    kills: int = 0
    resumed: int = 0
    resets: int = 0
    faults: Counter[Kind] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    untyped: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    resident: list[tuple[int, int]] = field(default_factory=list)
    """Process and its bytes in memory after each batch."""

    def add(self, other: Tally) -> None:
        """Take another one's in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def failures(self) -> list[str]:
        """Everything that must not happen."""
        return [*self.wrong, *self.untyped, *self.hangs, *self.crashes, *self.leaks]


class HostKilled(Exception):
    """The host ends in the middle of an answer."""


class Hang(BaseException):
    """A session has gone past its limit: past every handler of errors."""


def make_scenario(number: int) -> list[Turn]:
    """A conversation: some greedy, most sampled, for sampled tokens differ from their neighbours."""
    rng = random.Random(f"scenario {number}")
    turns = []
    for _ in range(rng.randint(1, 3)):
        prompt = tuple(rng.randrange(3, 130) for _ in range(rng.choice((1, 7, 30, 90))))
        params = SamplerParams(temperature=rng.choice((0.0, 1.0, 1.5)), seed=number)
        turns.append(Turn(prompt, rng.choice((5, 20, 40)), params))
    return turns


class Session:
    """One conversation of a robust host: what fails is tried again on a new connection, from the host's history.

    expected: what each turn is answered with; None where the line is good and this is to be found out.
    """

    def __init__(
        self, line: LockstepLine, rng: random.Random, tally: Tally, expected: list[Answer] | None, log: bool = False
    ) -> None:
        self._line = line
        self._log = log
        self._rng = rng
        self._tally = tally
        self._expected = expected
        self._limit = line.now() + SESSION_LIMIT
        self._history: list[int] = []
        self._client: Client | None = None
        self._request = 0
        """Id of the last GENERATE."""
        self._first = 0
        """Place in the answer of the first token of that run."""
        self._left = 0
        """Id of the run that a killed host leaves to the next one; 0 where that begins anew."""

    def run(self, turns: list[Turn]) -> list[Answer]:
        """All turns; each token is compared as it comes. HostError where it cannot go on."""
        answers = []
        for number, turn in enumerate(turns):
            answer: Answer = []
            for attempt in itertools.count():
                try:
                    self._speak(number, turn, answer)
                    break
                except HostKilled:
                    self._tally.kills += 1
                except HostError as error:
                    self._tally.errors[f"{type(error).__name__}: {str(error)[:60]}"] += 1
                    if attempt >= ATTEMPTS or not self._line.alive:
                        raise
                self._client = None
            self._history += [*turn.prompt, *(token for token, _ in answer)]
            answers.append(answer)
        return answers

    def _speak(self, number: int, turn: Turn, answer: Answer) -> None:
        client, run = self._client, None
        if client is None:
            client, run = self._connect(turn, answer)
        else:
            client.prompt(turn.prompt)
        if run is None:
            self._first = len(answer)
            run = client.generate(turn.count - len(answer), turn.params, digest=True)
        self._request = run.request
        for token in run:
            answer.append((token.id, token.digest))
            self._check(number, answer)
            self._strike(len(answer), turn.count)
        if len(answer) != turn.count:
            self._tally.wrong.append(f"turn {number} ended after {len(answer)} of {turn.count} tokens")

    def _connect(self, turn: Turn, answer: Answer) -> tuple[Client, Generation | None]:
        """A new host: takes up the answer that the last one left, or begins the session anew from the history."""
        left, self._left = self._left, 0
        self._tally.connections += 1
        client = Client(self._line, patience=PATIENCE, trace=self._trace, clock=self._line.now)
        info = client.connect(resume=left > 0)
        self._client = client
        if left and info.run == left:
            self._tally.resumed += 1
            return client, client.resume(len(answer) - self._first)
        client.truncate(0)
        client.prompt([*self._history, *turn.prompt, *(token for token, _ in answer)])
        return client, None

    def _trace(self, item: Frame | Text | Damaged) -> None:
        if self._log:
            print(f"{self._line.now():9.3f} {describe(item)}", file=sys.stderr)

    def _check(self, number: int, answer: Answer) -> None:
        self._tally.tokens += 1
        if self._line.now() > self._limit:
            raise Hang(f"{SESSION_LIMIT:.0f} s on the line's clock")
        place = len(answer) - 1
        if self._expected and answer[place] != self._expected[number][place]:
            there = [i for i, token in enumerate(self._expected[number]) if token == answer[place]]
            self._tally.wrong.append(f"turn {number}: token {place} is the one of place {there or 'none'}")

    def _strike(self, done: int, count: int) -> None:
        """Kill the host or reset the device in the middle of an answer, now and then."""
        if self._expected is None or done >= count or self._rng.random() > (KILL_CHANCE + RESET_CHANCE) / count:
            return
        if self._rng.random() < KILL_CHANCE / (KILL_CHANCE + RESET_CHANCE):
            self._left = self._rng.choice((0, self._request))
            raise HostKilled
        self._tally.resets += 1
        self._line.reset()
