# SPDX-License-Identifier: Apache-2.0
"""When a host may speak to a device that starts, on a clock of its own."""

from __future__ import annotations

import pytest

from host.errors import DeviceRestarted, TargetError
from host.link.client import Client
from host.schema.wire.constants import RELEASE

REPORT = f"{RELEASE} on visionfive2: rv64gc, 4 harts\r\n".encode()


class BootLine:
    """Says each text at its time and keeps the times at which the host has spoken."""

    description = "a board that starts"

    def __init__(self, *words: tuple[float, bytes]) -> None:
        self.words = list(words)
        self.time = 0.0
        self.spoken: list[float] = []

    def now(self) -> float:
        return self.time

    def read(self, timeout: float) -> bytes:
        end = self.time + timeout
        if self.words and self.words[0][0] <= end:
            self.time, said = self.words.pop(0)
            return said
        self.time = end
        return b""

    def write(self, _data: bytes) -> None:
        self.spoken.append(self.time)

    def close(self) -> None:
        pass


def times_spoken(*words: tuple[float, bytes]) -> list[float]:
    line = BootLine(*words)
    with pytest.raises(TargetError, match="no answer"):
        Client(line, patience=8, clock=line.now).connect(timeout=8)
    return line.spoken


def test_nothing_is_said_to_a_boot_loader_until_the_firmware_reports() -> None:
    spoken = times_spoken(
        (0.1, b"U-Boot SPL 2021.10\r\n"), (2.0, b"Hit any key to stop autoboot: 2\r\n"), (4.0, REPORT)
    )
    assert [time for time in spoken if 0.1 < time < 4.0] == []
    assert any(4.0 <= time < 4.6 for time in spoken)


def test_a_program_that_falls_silent_is_spoken_to() -> None:
    spoken = times_spoken((0.1, b"U-Boot 2021.10\r\n"))
    assert [time for time in spoken if 0.1 < time < 3.1] == []
    assert any(3.1 <= time < 3.6 for time in spoken)


def test_words_of_a_failure_mean_that_a_boot_loader_comes() -> None:
    spoken = times_spoken((0.1, REPORT), (1.0, b"WATCHDOG: no op has ended in time; restarting\r\n"), (5.0, REPORT))
    assert any(0.1 <= time < 0.7 for time in spoken)
    assert [time for time in spoken if 1.0 < time < 4.0] == []


class DyingLine(BootLine):
    """Ends with words that nobody has read when the host writes."""

    def write(self, _data: bytes) -> None:
        raise TargetError("it went away")

    def read(self, timeout: float) -> bytes:
        if not self.words:
            raise TargetError("it went away")
        return super().read(timeout)


@pytest.mark.parametrize("again", [False, True])
def test_the_last_words_of_a_device_that_ended_are_heard(again: bool) -> None:
    line = DyingLine((0.0, b"\r\nTRAP: illegal "), (0.0, b"instruction\r\n"))
    heard: list[str] = []
    client = Client(line, console=heard.append, clock=line.now, reopen=(lambda: line) if again else None)
    with pytest.raises(DeviceRestarted if again else TargetError, match="TRAP: illegal instr"):
        client.connect()
    assert "TRAP: illegal instruction" in heard
