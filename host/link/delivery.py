# SPDX-License-Identifier: Apache-2.0
"""The host's half of delivery: each numbered frame exactly once and in order (docs/protocol.md, "Delivery").

Nothing here reads, writes or asks for the time: frames and seconds come in, encoded bytes go out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from host.link.frames import Frame, encode
from host.schema.wire.constants import ASK_US, MAX_ENCODED, MAX_PAYLOAD, RECEIVE_BYTES, REPEAT_MAX_US, REPEAT_US
from host.schema.wire.header import FrameFlag, Type

REPEAT_SECONDS = REPEAT_US / 1e6
REPEAT_MAX_SECONDS = REPEAT_MAX_US / 1e6
ASK_SECONDS = ASK_US / 1e6


@dataclass
class Delivery:
    """One epoch.

    duplicates: received frames that were dropped because they had been seen. lost: received frames that were dropped
    because a frame before them was missing. repeated: frames that were sent again.
    """

    epoch: int = 0
    credit: int = RECEIVE_BYTES
    receive_next: int = 0
    send_next: int = 0
    duplicates: int = 0
    lost: int = 0
    repeated: int = 0
    _kept: deque[Frame] = field(default_factory=deque)
    """Frames that are not acknowledged, oldest first; the first ``_under_way`` of these frames were sent."""
    _under_way: int = 0
    _fresh: int = 0
    _probing: bool = False
    _tries: int = 0
    _sent: float = 0.0
    _progress: float = 0.0
    _asked_for: int = -1
    _asked: float = 0.0
    _ack_owed: bool = False

    # ---- sending ----

    def stalled(self, now: float) -> float:
        """Seconds since something was acknowledged, while something waits for it."""
        return now - self._progress if self._kept else 0.0

    def forgive(self, now: float) -> None:
        """Count the other end's time anew: nobody has listened to it until now."""
        self._progress = now

    def push(self, kind: int, payload: bytes, now: float) -> None:
        """Number and keep a frame; ``due`` sends it."""
        if not self._kept:
            self._progress = now
        self._kept.append(Frame(kind, payload, epoch=self.epoch, seq=self.send_next))
        self.send_next = (self.send_next + 1) & 0xFFFF

    def unnumbered(self, kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """A frame outside the sequence, encoded."""
        self._ack_owed = False
        flags |= FrameFlag.UNNUMBERED
        return encode(Frame(kind, payload, epoch=self.epoch, ack=self.receive_next, flags=flags))

    def due(self, now: float) -> bytes:
        """Whatever must be sent now: new frames that the credit allows, repetitions, an acknowledgement."""
        out = b""
        while (frame := self._next(now)) is not None:
            out += frame
        if self._ack_owed:
            out += self.unnumbered(Type.ACK)
        return out

    def wait(self, now: float) -> float:
        """Seconds until ``due`` has something to repeat."""
        return max(0.0, self._sent + self._patience() - now) if self._under_way else float("inf")

    def _patience(self) -> float:
        return float(min(REPEAT_SECONDS * 2**self._tries, REPEAT_MAX_SECONDS))

    def _next(self, now: float) -> bytes | None:
        if self._is_blocked():
            if not self._under_way or now - self._sent < self._patience():
                return None
            # Repeat the oldest frame alone, as perhaps nobody listens.
            self._under_way, self._probing = 0, True
            self._tries += 1
        frame = self._kept[self._under_way]
        self._under_way += 1
        self.repeated += self._under_way <= self._fresh
        self._fresh = max(self._fresh, self._under_way)
        self._sent = now
        self._ack_owed = False
        return encode(Frame(frame.type, frame.payload, epoch=self.epoch, seq=frame.seq, ack=self.receive_next))

    def _is_blocked(self) -> bool:
        if self._under_way == len(self._kept):
            return True
        if not self._under_way:
            return False
        sizes = (len(frame.payload) for frame in list(self._kept)[: self._under_way + 1])
        return self._probing or sum(sizes) + OVERHEAD * (self._under_way + 1) > self.credit

    # ---- receiving ----

    def damaged(self, now: float) -> bytes:
        """Damaged bytes came, which may have been a frame. Returns a request for the frame that is awaited."""
        return self._ask(now)

    def receive(self, frame: Frame, now: float) -> tuple[bool, bytes]:
        """Take a frame of this epoch. Returns whether it is to be handled, and what to send at once."""
        self._acknowledge(frame, now)
        if frame.flags & FrameFlag.REPEAT:
            self._under_way, self._probing = 0, False
        if frame.flags & FrameFlag.UNNUMBERED:
            return frame.type != Type.ACK, b""
        ahead = (frame.seq - self.receive_next) & 0xFFFF
        if ahead >= 0x8000:
            self.duplicates += 1
            self._ack_owed = True
            return False, b""
        if ahead:
            self.lost += 1
            return False, self._ask(now)
        self.receive_next = (self.receive_next + 1) & 0xFFFF
        self._ack_owed = True
        return True, b""

    def _acknowledge(self, frame: Frame, now: float) -> None:
        done = (frame.ack - self.send_next + len(self._kept)) & 0xFFFF
        if done > len(self._kept):
            return
        self.credit = frame.credit
        self._tries = 0  # the other end listens, as it speaks: frames that are missing were lost
        if not done:
            return
        for _ in range(done):
            self._kept.popleft()
        self._under_way = max(0, self._under_way - done)
        self._fresh = max(0, self._fresh - done)
        self._probing = False
        self._sent = self._progress = now

    def _ask(self, now: float) -> bytes:
        if not self.epoch or (self._asked_for == self.receive_next and now - self._asked < ASK_SECONDS):
            return b""
        self._asked_for, self._asked = self.receive_next, now
        return self.unnumbered(Type.ACK, flags=FrameFlag.REPEAT)


OVERHEAD = MAX_ENCODED + 2 - MAX_PAYLOAD
"""What a frame takes on the wire beside its payload, at most."""
