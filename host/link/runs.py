# SPDX-License-Identifier: Apache-2.0
"""Prompts, and the runs that evaluate them: GENERATE, SCORE, ENCODE and RESUME."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from host.errors import DeviceFailure, TargetError
from host.link.encoding import Encoding
from host.link.generation import Continuation, Generation
from host.link.records import Done, SamplerParams
from host.link.run import Running
from host.link.scoring import Scoring
from host.link.sessions import Sessions
from host.schema.wire import requests
from host.schema.wire.constants import MAX_STOP_IDS
from host.schema.wire.header import Type
from host.schema.wire.messages import MAX_PROMPT_TOKENS
from host.schema.wire.requests import RunFlag

PENDING = 70
"""Error of a device whose queue of tokens to be evaluated is full."""
Progress = Callable[[int, int], None]
"""Called with (evaluated, of so many) during a long prompt."""


class Runs:
    """Starts the runs of a device; see ``Client`` for each method."""

    def __init__(self, running: Running, sessions: Sessions) -> None:
        self._running = running
        self._sessions = sessions
        self._connection = running.requests.connection

    def prompt(self, tokens: Sequence[int], session: int = 0) -> int:
        """Append tokens to a session, and evaluate them in parts where they are more than the device's queue takes."""
        for first in range(0, len(tokens), MAX_PROMPT_TOKENS):
            part = tokens[first : first + MAX_PROMPT_TOKENS]
            try:
                self._sessions.append(part, session)
            except DeviceFailure as failure:
                if failure.number != PENDING:
                    raise
                # What fills the queue may be of other sessions, too: only the device knows its room.
                try:
                    self.generate(0, session=session).finish()
                except DeviceFailure:
                    raise failure from None
                self._sessions.append(part, session)
        return self._sessions.length(session)

    def generate(
        self,
        max_tokens: int,
        params: SamplerParams | None = None,
        stop_ids: Sequence[int] = (),
        session: int = 0,
        digest: bool = False,
        progress: Progress | None = None,
    ) -> Generation:
        """Evaluate what is pending and sample up to ``max_tokens``."""
        params = params or SamplerParams()
        ids = list(stop_ids)[:MAX_STOP_IDS]

        def ask(most: int) -> int:
            return self._send_generate(most, params, ids, session, digest)

        continuation = Continuation(ask, max_tokens, tuple(ids))
        return Generation(self._running, ask(max_tokens), session, progress, continuation)

    def _send_generate(self, max_tokens: int, params: SamplerParams, ids: list[int], session: int, digest: bool) -> int:
        return self._connection.send(
            Type.GENERATE,
            requests.Generate,
            session=session,
            max_tokens=max_tokens,
            flags=RunFlag.DIGEST if digest else 0,
            temperature=params.temperature,
            top_k=params.top_k,
            top_p=params.top_p,
            min_p=params.min_p,
            repeat_penalty=params.repeat_penalty,
            repeat_last=params.repeat_last,
            seed=params.seed,
            stop_count=len(ids),
            stop_ids=ids + [0] * (MAX_STOP_IDS - len(ids)),
        )

    def resume(self, index: int = 0, progress: Progress | None = None) -> Generation:
        """The tokens of the GENERATE that runs or ran last, from token ``index`` on."""
        info = self._connection.device.info
        if not info.run:
            raise TargetError(f"{self._connection.line.stream.description} has made no answer that could be resumed")
        self._connection.expect(info.run)
        self._running.ledger.replaced(info.run_session, None)
        self._running.requests.ask(Type.RESUME, requests.Resume, target=info.run, index=index)
        return Generation(self._running, info.run, info.run_session, progress, first=index)

    def score(
        self, session: int = 0, digest: bool = False, logits: bool = False, progress: Progress | None = None
    ) -> Scoring:
        """Evaluate what is pending with all its logits."""
        flags = (RunFlag.DIGEST if digest else 0) | (RunFlag.LOGITS if logits else 0)
        request = self._connection.send(Type.SCORE, requests.Score, session=session, flags=flags)
        vocab = self._connection.device.info.vocab if logits else 0
        return Scoring(self._running, request, session, progress, vocab)

    def encode(self, tokens: Sequence[int], results: int, width: int, session: int = 0) -> Encoding:
        """Have an encoder read a text."""
        self._sessions.truncate(0, session)
        for first in range(0, len(tokens), MAX_PROMPT_TOKENS):
            self._sessions.append(tokens[first : first + MAX_PROMPT_TOKENS], session)
        request = self._connection.send(Type.ENCODE, requests.Encode, session=session)
        return Encoding(self._running, request, session, results, width)

    def cancel(self) -> Done | None:
        """End what runs and wait until it has ended. Returns how; None when nothing ran."""
        return self._running.active.cancel() if self._running.active else None
