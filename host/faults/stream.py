# SPDX-License-Identifier: Apache-2.0
"""A byte stream with a breaking or slow line in between, in real time."""

from __future__ import annotations

import time
from collections import Counter

from host.faults.way import Faults, Kind, Way
from host.link.stream import ByteStream

GAP_BYTES = 400.0
"""Between two faults, where nothing else is said: most frames arrive, every answer meets some."""


class BrokenStream:
    """Passes bytes between a host and ``stream`` through two ways, one to the device, one from it."""

    def __init__(self, stream: ByteStream, seed: int | None = None, gap: float = GAP_BYTES, baud: float = 0) -> None:
        faults = [Faults(f"{seed}/{way}", gap) if seed is not None else None for way in ("to", "from")]
        self.stream = stream
        self.to_device, self.to_host = (Way(fault, baud) for fault in faults)

    @property
    def description(self) -> str:
        """Of the stream behind the line."""
        return self.stream.description

    @property
    def counts(self) -> Counter[Kind]:
        """Faults so far."""
        return self.to_device.counts + self.to_host.counts

    def read(self, timeout: float) -> bytes:
        """What has come out of the line's end at the host; see ByteStream."""
        end = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            self._pass_on(now)
            if (data := self.to_host.take(now)) or now >= end:
                return data
            times = [due for due in (self.to_host.due, self.to_device.due) if due is not None]
            self.to_host.put(self.stream.read(max(0.0, min([end, *times]) - now)), time.monotonic())

    def write(self, data: bytes) -> None:
        """Put bytes in at the host's end; what is late goes on while the host reads."""
        now = time.monotonic()
        self.to_device.put(data, now)
        self._pass_on(now)

    def _pass_on(self, now: float) -> None:
        if data := self.to_device.take(now):
            self.stream.write(data)

    def close(self) -> None:
        """Close the stream behind the line."""
        self.stream.close()
