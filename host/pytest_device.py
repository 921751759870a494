# SPDX-License-Identifier: Apache-2.0
"""One target in one test: started, talked to, reset, and told about when the test fails."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from host.errors import HostError
from host.faults import BrokenStream
from host.image.reader import Image
from host.link.client import Client
from host.link.rate import line_rate
from host.link.records import DeviceInfo
from host.link.stream import ByteStream
from host.link.transfer import send_image
from host.targets.abilities import device_abilities, slowness
from host.targets.base import Target
from host.targets.hooks import Hooks
from host.targets.opening import open_target
from host.targets.recorder import Recorder
from host.targets.spec import TargetSpec

PATIENCE = 20.0
READ_SECONDS = 0.2
LINE_BITS = 11
"""A byte of an image takes ten, and a tenth of them for the frame around it."""
SEND_SECONDS = 600.0
"""A test does not wait longer than this for its image to be sent."""


class Device:
    """What the fixture ``device`` gives: the target of ``--hart-target``, not yet started.

    needs: abilities asked for by the test. faults: seed of a line that is broken on purpose, None for a good one.
    """

    def __init__(
        self, spec: TargetSpec, hooks: Hooks, needs: Mapping[str, object] | None = None, faults: int | None = None
    ) -> None:
        self.spec = spec
        self.slowness = slowness(spec)
        """How many times longer than this machine the target may take."""
        self._hooks = hooks
        self._needs = needs or {}
        self._faults = faults
        self._target: Target | None = None
        self._recorder: Recorder | None = None

    def seconds(self, native: float) -> float:
        """A limit of time that is ``native`` on this machine."""
        return native * self.slowness

    @property
    def target(self) -> Target:
        """The started target."""
        assert self._target is not None, "the device has not been started: device.start() or device.connect()"
        return self._target

    def start(self, image: Path | None = None) -> ByteStream:
        """Start the target anew, a simulator with the image, and return its line. Raises TargetError, FitError."""
        self.close()
        self._target = open_target(self.spec, image, hooks=self._hooks)
        line = self._target if self._faults is None else BrokenStream(self._target, self._faults)
        self._recorder = Recorder(line)
        return self._recorder

    def connect(self, image: Path | None = None) -> Client:
        """Start the target and say hello; the session is empty.

        A board that runs another image gets this one over the line, at the fastest rate that works, for as long as it
        is on; where it has no room for one in its memory, or the line is too slow for its size, the test is skipped.
        """
        client = Client(self.start(image), patience=max(PATIENCE, self.seconds(PATIENCE)))
        info = client.connect(timeout=max(PATIENCE, self.seconds(1.0)))
        if self.spec.is_line and (reason := device_abilities(info).lacking(self._needs)):
            pytest.skip(reason)
        if image is not None:
            if self.spec.is_line and info.root.hex() != Image(image).root:
                with line_rate(client, "auto"):
                    if reason := self._unsendable(info, image):
                        pytest.skip(reason)
                    send_image(client, image)
            client.require_model()
            client.truncate(0)
        return client

    def _unsendable(self, info: DeviceInfo, image: Path) -> str:
        size = image.stat().st_size
        baud = (self._recorder and self._recorder.baud) or info.baud
        seconds = size * LINE_BITS / baud if baud else 0.0
        if info.image_area < size:
            return f"{self.spec.text} runs image {info.root.hex()[:8]}, not {image.name}"
        if seconds > SEND_SECONDS:
            return f"{image.name} takes {seconds / 60:.0f} minutes over the line; flash it, or host load it"
        return ""

    def reset(self) -> None:
        """Restart the device; connect a client again afterwards. Raises TargetError where it cannot be done."""
        self.target.reset()

    def expect(self, words: bytes, native_seconds: float = 20.0) -> bytes:
        """All that came up to and behind the words; fails with what came instead after so many seconds, scaled."""
        assert self._recorder is not None, "the device has not been started: device.start()"
        limit = max(native_seconds, self.seconds(native_seconds / 10))
        got, end = b"", time.monotonic() + limit
        while words not in got:
            if time.monotonic() > end:
                pytest.fail(f"{words!r} did not come within {limit:g} s; the last bytes are {got[-500:]!r}")
            got += self._recorder.read(READ_SECONDS)
        return got

    def report(self) -> list[tuple[str, str]]:
        """Sections for a failed test: last bytes, frames in words, the target's own log."""
        if self._recorder is None or self._target is None:
            return []
        state = self._target.exit_reason or "alive"
        sections = [
            (f"{self._target.description}: last bytes", self._recorder.last_bytes()),
            (f"{self._target.description}: frames and lines", "\n".join(self._recorder.frames)),
        ]
        log = self._target.log_tail
        return [*sections, (f"{self._target.description}: log ({state})", log)] if log or state != "alive" else sections

    def close(self) -> None:
        """End the target, where it was started."""
        if self._target:
            self._target.close()


def connect_or_fail(device: Device, image: Path | None) -> Client:
    """Connect to a device. A HostError fails the test with its words, without a traceback."""
    try:
        return device.connect(image)
    except HostError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
