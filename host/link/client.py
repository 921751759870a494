# SPDX-License-Identifier: Apache-2.0
"""The host end of the protocol: requests to a device and their answers, over any byte stream.

Everything happens in the caller's thread, so Ctrl-C works at any time; after a KeyboardInterrupt ``cancel`` ends
what the device still runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from host.link.attach import Attachment
from host.link.baud import set_baud
from host.link.connection import Connection
from host.link.device import KnownDevice
from host.link.encoding import Encoding
from host.link.generation import Generation
from host.link.ledger import Ledger
from host.link.line import Item, Line
from host.link.memory import Memory
from host.link.records import DeviceInfo, DeviceStats, Done, SamplerParams
from host.link.recovery import Recovery
from host.link.requests import Requests
from host.link.run import Running
from host.link.runs import Progress, Runs
from host.link.scoring import Scoring
from host.link.sessions import Sessions
from host.link.stream import ByteStream
from host.schema.wire.hello import DeviceState


class Client:
    """One device on one byte stream. The methods are all that a conversation needs. The parts are public for code that
    moves bytes (``memory``, ``sessions``) or watches the line (``line``, ``connection``).

    console: called with each text line that arrives outside frames. patience: seconds without any byte after which
    a device is given up; it is asked by PING in between. clock: seconds, where the stream is simulated with a time of
    its own. restore: when the device restarts, connect again, give its sessions back what they held and go on with what
    was asked, telling ``console``; else DeviceRestarted is raised. reopen: a new stream where the old one has ended,
    such as a simulator's; that is then a restart, too. away: seconds for which it is tried again, for a cable.
    """

    def __init__(
        self,
        stream: ByteStream,
        console: Callable[[str], None] | None = None,
        patience: float = 120.0,
        trace: Callable[[Item], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        restore: bool = False,
        reopen: Callable[[], ByteStream] | None = None,
        away: float = 0.0,
    ) -> None:
        self.device = KnownDevice(patience)
        self.line = Line(stream, console, trace, clock, reopen, away)
        self.ledger = Ledger()
        self.connection = Connection(self.line, self.device)
        self.requests = Requests(self.connection, lambda: self.recovery.recover_if_wanted())
        self._attachment = Attachment(self.line, self.connection, self.device)
        self.sessions = Sessions(self.requests, self.ledger)
        self.memory = Memory(self.requests, self._attachment, self.ledger)
        self.recovery = Recovery(restore, self._attachment, self.requests, self.sessions, self.memory, self.prompt)
        self.running = Running(self.requests, self.ledger, self.recovery)
        self._runs = Runs(self.running, self.sessions)

    @property
    def info(self) -> DeviceInfo:
        """What the device said of itself when it was last connected or loaded."""
        return self.device.info

    @property
    def stream(self) -> ByteStream:
        """The byte stream, which is another one after a restart with ``reopen``."""
        return self.line.stream

    def connect(self, timeout: float = 15.0, resume: bool = False) -> DeviceInfo:
        """Say hello until the device answers and has checked its image.

        timeout: seconds since the last byte heard, and twice as many in all, for a shell has words for every hello;
        once its boot report is seen ``patience`` takes its place, so that a device can check the image. resume: leave
        running what an earlier host started, for ``resume``; else it is cancelled. Raises TargetError when nothing
        answers, or in another protocol version.
        """
        self._attachment.attach(timeout)
        if self.info.state == DeviceState.RUNNING and not resume:
            self.requests.stop_all()
        return self.info

    def require_model(self) -> None:
        """Raise DeviceFailure with the device's own error when it has no valid model."""
        self.device.require_model()

    def close(self) -> None:
        """Close the stream."""
        self.line.stream.close()

    # ---- a conversation ----

    def truncate(self, length: int = 0, session: int = 0) -> int:
        """Roll a session back to ``length`` tokens; 0 empties it. Returns its length."""
        return self.sessions.truncate(length, session)

    def length(self, session: int = 0) -> int:
        """Tokens of the session, pending ones included. A session that this client has not used is emptied first."""
        return self.sessions.length(session)

    def prompt(self, tokens: Sequence[int], session: int = 0) -> int:
        """Append tokens to a session; they are evaluated by the next generate or score. Returns its length.

        A prompt longer than the device's queue is evaluated in parts on the way, but for its last part.
        """
        return self._runs.prompt(tokens, session)

    def generate(
        self,
        max_tokens: int,
        params: SamplerParams | None = None,
        stop_ids: Sequence[int] = (),
        session: int = 0,
        digest: bool = False,
        progress: Progress | None = None,
    ) -> Generation:
        """Evaluate what is pending and sample up to ``max_tokens``: an iterator of tokens, whose ``done`` is set last.

        A stop id is the last token given. progress: called with (evaluated, of so many) during a long prompt.
        """
        return self._runs.generate(max_tokens, params, stop_ids, session, digest, progress)

    def resume(self, index: int = 0, progress: Progress | None = None) -> Generation:
        """The tokens of the GENERATE that runs or ran last, from token ``index`` on; any host may have asked for it.

        After ``connect(resume=True)``. TargetError where there was none, DeviceFailure where they are not kept.
        """
        return self._runs.resume(index, progress)

    def score(
        self, session: int = 0, digest: bool = False, logits: bool = False, progress: Progress | None = None
    ) -> Scoring:
        """Evaluate what is pending with all its logits: an iterator of one row a token."""
        return self._runs.score(session, digest, logits, progress)

    def encode(self, tokens: Sequence[int], results: int, width: int, session: int = 0) -> Encoding:
        """Have an encoder read a text: an iterator of so many results, f32 [width] each. The session is emptied."""
        return self._runs.encode(tokens, results, width, session)

    def cancel(self) -> Done | None:
        """End what this client has running and wait until it has ended. Returns how; None when nothing ran."""
        return self._runs.cancel()

    # ---- the device and its line ----

    def ping(self) -> float:
        """Seconds until the device answered; a lost PING is said again."""
        return self.requests.ping()

    def stats(self, enable: bool | None = None, reset: bool = False) -> DeviceStats:
        """Ask for the cost by op, then switch counting on or off and reset it, where asked for."""
        return self.requests.stats(enable, reset)

    def set_baud(self, baud: int) -> bool:
        """Change the rate of the line. Returns False where nothing came through at it and both ends went back.

        DeviceFailure where the device does not offer it, UsageError where this end of the line has no rate.
        """
        return set_baud(self.requests, baud)
