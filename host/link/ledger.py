# SPDX-License-Identifier: Apache-2.0
"""What each session of a device holds, by what this host has said and heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """lengths: tokens of each session that this host has used, pending ones included. tokens: the tokens themselves, of
    each session that this host has filled from its beginning.
    """

    lengths: dict[int, int] = field(default_factory=dict)
    tokens: dict[int, list[int]] = field(default_factory=dict)

    def rolled_back(self, session: int, length: int) -> None:
        """A session has been rolled back to its first ``length`` tokens."""
        self.lengths[session] = length
        self.tokens[session] = self.tokens.get(session, [])[:length]

    def prompted(self, session: int, tokens: Sequence[int], length: int) -> None:
        """Tokens were appended, which made the session so long."""
        self.lengths[session] = length
        if session in self.tokens:
            self.tokens[session] += tokens

    def sampled(self, session: int, token: int) -> None:
        """The device has sampled a token. How long its session is, DONE tells."""
        if session in self.tokens:
            self.tokens[session].append(token)

    def replaced(self, session: int, length: int | None) -> None:
        """A session holds tokens that this host does not know: so many, or None where it does not know that, either."""
        self.tokens.pop(session, None)
        if length is None:
            self.lengths.pop(session, None)
        else:
            self.lengths[session] = length

    def clear(self) -> None:
        """The device holds nothing any more."""
        self.lengths.clear()
        self.tokens.clear()

    def known_tokens(self) -> dict[int, list[int]]:
        """A copy of ``tokens``."""
        return {session: list(tokens) for session, tokens in self.tokens.items()}
