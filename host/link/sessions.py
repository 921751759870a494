# SPDX-License-Identifier: Apache-2.0
"""The sessions of a device: their lengths, the tokens appended to them, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from host.link import limits
from host.link.ledger import Ledger
from host.link.records import SessionContents
from host.link.requests import Requests
from host.schema.wire import answers, requests
from host.schema.wire.header import Type


class Sessions:
    """Asks about sessions, and keeps the ledger of them."""

    def __init__(self, asking: Requests, ledger: Ledger) -> None:
        self.ledger = ledger
        self._requests = asking
        self._line = asking.connection.line
        self._device = asking.connection.device

    def truncate(self, length: int = 0, session: int = 0) -> int:
        """Roll a session back to ``length`` tokens; 0 empties it. Returns its length."""
        now = self._requests.ask(Type.TRUNCATE, requests.Truncate, session=session, length=length)
        if now != length:
            raise self._line.faulty(f"has rolled a session back to {now} tokens instead of {length}")
        self.ledger.rolled_back(session, length)
        return length

    def length(self, session: int = 0) -> int:
        """Tokens of the session, pending ones included. A session that this client has not used is emptied first."""
        if session not in self.ledger.lengths:
            self.truncate(0, session)
        return self.ledger.lengths[session]

    def append(self, tokens: Sequence[int], session: int) -> None:
        """Append at most ``MAX_PROMPT_TOKENS`` tokens; they are pending until they are evaluated."""
        position = self.length(session)
        length = self._requests.ask(
            Type.PROMPT,
            requests.Prompt,
            tail=np.asarray(tokens, dtype="<u4").tobytes(),
            session=session,
            position=position,
            count=len(tokens),
        )
        if length != position + len(tokens):
            raise self._line.faulty(f"has {length} tokens in a session that was given {position + len(tokens)}")
        self.ledger.prompted(session, tokens, length)

    def contents(self, session: int = 0) -> SessionContents:
        """What the session holds. DeviceFaulty where it is more than the model's memory plan has."""
        connection, info = self._requests.connection, self._device.info
        payload = connection.answer(connection.send(Type.STATE, requests.State, session=session), Type.STATE_REPLY)
        head = answers.StateReply.parse(payload)
        tokens = np.frombuffer(payload, dtype="<u4", offset=answers.StateReply.sizeof())
        most = self._device.most_session_bytes()
        if head.bytes > most:
            raise self._line.faulty(f"has {head.bytes} bytes of state in a session, where the model's plan has {most}")
        positions = limits.LIMITS["context"] if info.overflow else info.context
        if not head.length <= head.high <= positions or any(token >= info.vocab for token in tokens):
            raise self._line.faulty(f"has {head.length} positions in a session, {head.high} at most, or unknown tokens")
        return SessionContents(head.length, head.high, tuple(int(token) for token in tokens), head.bytes)

    def adopt(self, session: int, length: int, high: int) -> None:
        """Empty a session and give it so many positions, whose contents are to be written."""
        self.truncate(0, session)
        got = self._requests.ask(Type.ADOPT, requests.Adopt, session=session, length=length, high=high)
        if got != length:
            raise self._line.faulty(f"has given a session {got} positions instead of {length}")
        self.ledger.replaced(session, length)
