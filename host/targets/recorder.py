# SPDX-License-Identifier: Apache-2.0
"""A byte stream that remembers the last of what went over it, for the report of a failed test."""

from __future__ import annotations

import time
from collections import deque

from host.link.describe import describe
from host.link.frames import Decoder
from host.link.stream import ByteStream, SerialStream, has_rate

LAST_BYTES = 512
LAST_FRAMES = 40


class Recorder:
    """Passes everything on; ``frames`` has the last frames and lines of both directions in words."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.frames: deque[str] = deque(maxlen=LAST_FRAMES)
        self._last = {"<": bytearray(), ">": bytearray()}
        self._counts = {"<": 0, ">": 0}
        self._decoders = {"<": Decoder(), ">": Decoder()}
        self._began = time.monotonic()

    @property
    def description(self) -> str:
        """Of the stream."""
        return self.stream.description

    def read(self, timeout: float) -> bytes:
        """Read from the stream."""
        data = self.stream.read(timeout)
        self._keep("<", data)
        return data

    def write(self, data: bytes) -> None:
        """Write to the stream."""
        self._keep(">", data)
        self.stream.write(data)

    @property
    def bauds(self) -> bool:
        """Whether the stream has a rate that can be changed."""
        return has_rate(self.stream)

    @property
    def baud(self) -> int:
        """Bits a second; 0 without a rate."""
        return self.stream.baud if isinstance(self.stream, SerialStream) else 0

    def set_baud(self, baud: int) -> None:
        """Change the stream's rate, where it has one."""
        if has_rate(self.stream):
            self.stream.set_baud(baud)

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()

    def _keep(self, way: str, data: bytes) -> None:
        last = self._last[way]
        last += data
        del last[:-LAST_BYTES]
        self._counts[way] += len(data)
        for item in self._decoders[way].feed(data):
            self.frames.append(f"{time.monotonic() - self._began:9.3f} {way} {describe(item)}")

    def last_bytes(self) -> str:
        """The last bytes of both directions, for people."""
        names = {"<": "from the device", ">": "to the device"}
        return "\n".join(
            f"{self._counts[way]} bytes {names[way]}, the last {len(last)}: {bytes(last)!r}"
            for way, last in self._last.items()
        )
