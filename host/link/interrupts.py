# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C that never cuts a frame in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from host.link.client import Client


@contextmanager
def deferred_interrupts(client: Client) -> Iterator[None]:
    """Within it Ctrl-C raises KeyboardInterrupt only where the client waits between frames, so that no byte is lost.

    One that comes after the last frame is dropped. Outside the main thread, where no signal arrives, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        client.line.interrupted = True

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        client.line.interrupted = False
