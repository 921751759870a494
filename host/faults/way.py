# SPDX-License-Identifier: Apache-2.0
"""One direction of a line: what is put in comes out later, paced like a UART and broken by a seed."""

from __future__ import annotations

import enum
import random
from collections import Counter, deque
from dataclasses import dataclass

BITS_A_BYTE = 10
FIFO_BYTES = 16
"""A UART's driver hands bytes on by FIFOs."""
LONGEST_DELAY, LONGEST_STUCK, LONGEST_MISMATCH = 0.1, 0.3, 0.3
LONGEST_BURST = 200
BOOT_TEXT = (
    b"\r\nU-Boot SPL 2021.10 (Nov 12 2023)\r\nDDR version: dc2e84f0.\r\nTrying to boot from SPI\r\n",
    b"\r\nOpenSBI v1.2\r\nPlatform Name : StarFive VisionFive V2\r\n",
    b"[    0.000000] Linux version 6.6.20 (root@host)\r\n",
    b"login: ",
)


class Kind(enum.Enum):
    """What can happen to bytes under way."""

    FLIP = "bit flipped"
    LOSE = "byte lost"
    DOUBLE = "byte doubled"
    REORDER = "two bytes in the wrong order"
    DELAY = "delay"
    BURST = "burst of noise"
    TEXT = "boot text injected"
    STUCK = "line stuck"
    BAUD = "wrong baud rate"


KINDS = tuple(Kind)
WEIGHTS = {Kind.DELAY: 2, Kind.BURST: 2, Kind.TEXT: 2, Kind.STUCK: 1, Kind.BAUD: 1}
"""How often against the others, which have 8: what takes the line away for long would leave no time for anything."""


@dataclass(frozen=True)
class Faults:
    """A seed, and one fault in ``gap`` bytes on average."""

    seed: object
    gap: float
    kinds: tuple[Kind, ...] = KINDS


class Way:
    """Bytes put in at a time come out at or after it, in order. Times are seconds on any clock that does not go back.

    baud: bits a second, 0 for a line without timing. The same bytes at the same times come out the same for one seed.
    """

    def __init__(self, faults: Faults | None = None, baud: float = 0) -> None:
        self.counts: Counter[Kind] = Counter()
        self.noise = 0
        """Bytes that noise has replaced."""
        self.baud = baud
        self._faults = faults
        self._random = random.Random(str(faults.seed)) if faults else random.Random(0)
        self._weights = [WEIGHTS.get(kind, 8) for kind in faults.kinds] if faults else []
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._free = 0.0
        self._left = self._gap()
        self._noisy = 0
        self._stuck = self._garbled_from = self._garbled = 0.0
        self._held = b""

    @property
    def due(self) -> float | None:
        """Time at which the next bytes come out; None when none are under way."""
        return self._under_way[0][0] if self._under_way else None

    def put(self, data: bytes, now: float) -> None:
        """Send bytes."""
        data = self._break(data, now)
        self._free = max(self._free, now)
        step = FIFO_BYTES if self.baud else max(1, len(data))
        for first in range(0, len(data), step):
            part = data[first : first + step]
            if self.baud:
                self._free += len(part) * BITS_A_BYTE / self.baud
            self._under_way.append((self._free, part))

    def take(self, now: float) -> bytes:
        """All that has come out until now."""
        out = b""
        while self._under_way and self._under_way[0][0] <= now:
            out += self._under_way.popleft()[1]
        return out

    def garble(self, begin: float, end: float) -> None:
        """Replace all bytes put in between these times by noise."""
        self._garbled_from, self._garbled = begin, end

    def _gap(self) -> int:
        return 1 + int(self._random.expovariate(1 / self._faults.gap)) if self._faults else 0

    def _break(self, data: bytes, now: float) -> bytes:
        out = bytearray()
        for byte in data:
            self._left -= 1
            if self._faults and self._left <= 0:
                self._left = self._gap()
                self._begin(out, byte, now)
            else:
                self._pass(out, byte, now)
        return bytes(out)

    def _pass(self, out: bytearray, byte: int, now: float) -> None:
        """A byte that no new fault begins at."""
        if now < self._stuck:
            return
        if self._noisy or self._garbled_from <= now < self._garbled:
            self._noisy = max(0, self._noisy - 1)
            byte = self._random.randrange(256)
            self.noise += 1
        out.append(byte)
        out += self._held
        self._held = b""

    def _begin(self, out: bytearray, byte: int, now: float) -> None:
        """A fault begins at this byte."""
        assert self._faults
        kind = self._random.choices(self._faults.kinds, self._weights)[0]
        self.counts[kind] += 1
        length = self._random.random()
        if kind == Kind.LOSE:
            return
        if kind == Kind.REORDER and not self._held:
            self._held = bytes([byte])
            return
        if kind == Kind.FLIP:
            byte ^= 1 << self._random.randrange(8)
        elif kind == Kind.DOUBLE:
            self._pass(out, byte, now)
        elif kind == Kind.DELAY:
            self._free = max(self._free, now + length * LONGEST_DELAY)
        elif kind == Kind.BURST:
            self._noisy = 2 + int(length * LONGEST_BURST)
        elif kind == Kind.TEXT:
            out += self._random.choice(BOOT_TEXT)
        elif kind == Kind.STUCK:
            self._stuck = now + length * LONGEST_STUCK
        elif kind == Kind.BAUD:
            self.garble(now, now + length * LONGEST_MISMATCH)
        self._pass(out, byte, now)
