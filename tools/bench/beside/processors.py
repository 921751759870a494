# SPDX-License-Identifier: Apache-2.0
"""Processor time, of processes and of the whole machine, from Linux's /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Processor time of all threads of a process so far; exact while they wait, for the kernel adds on a switch."""
    spent = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return spent / 1e9


def busy_seconds(stat: str) -> float:
    """Processor time that this machine has spent on anything, by /proc/stat: all but idle and waiting for disks."""
    values = [int(word) for word in stat.splitlines()[0].split()[1:9]]
    return (sum(values) - values[3] - values[4]) / os.sysconf("SC_CLK_TCK")


class Others:
    """How much of the processors went to others than this process, its ended children and ``pids`` since it began."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = [*pids, os.getpid()]
        self._began, self._busy, self._own = time.monotonic(), self._machine(), self._ours()

    @staticmethod
    def _machine() -> float:
        return busy_seconds(Path("/proc/stat").read_text())

    def _ours(self) -> float:
        ended = os.times()
        return sum(map(processor_seconds, self._pids)) + ended.children_user + ended.children_system

    def share(self) -> float:
        """Of all processors' time, 0 to 1."""
        passed = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        others = self._machine() - self._busy - (self._ours() - self._own)
        return max(0.0, others / passed)
