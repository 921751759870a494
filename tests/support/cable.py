# SPDX-License-Identifier: Apache-2.0
"""A serial adapter that is unplugged and plugged in again: a path that leads to a pseudo terminal, or to nothing."""

from __future__ import annotations

import os
import pty
import select
import threading
import time
import tty
from pathlib import Path

from host.link.frames import Decoder, Frame
from host.schema.wire import answers
from host.schema.wire.header import Type
from tests.support.fake_device import FakeDevice

TICK_SECONDS = 0.01
TURN_SECONDS = 0.001
"""Seconds of sleep in which the other thread gets the lock."""
GIVE_SECONDS = 5.0


class Cable:
    """Between a path and a device, plugged in. What the device says while the cable is out is lost.

    cut_at: token that is lost by unplugging it, once; at_once: then it is plugged in again, as another terminal.
    """

    def __init__(self, path: Path, device: FakeDevice, cut_at: int = -1, at_once: bool = False) -> None:
        self.path = path
        self.device = device
        self.cuts = 0
        self._cut_at = cut_at
        self._at_once = at_once
        self._master = -1
        self._decoder = Decoder()
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self.plug()
        self._pump = threading.Thread(target=self._run, daemon=True)
        self._pump.start()

    def plug(self, power_cycle: bool = False) -> None:
        """Plug the cable in. ``power_cycle``: the cable is the device's power, so the device starts anew."""
        with self._lock:
            if power_cycle:
                self.device.restart()
            self._master, slave = pty.openpty()
            tty.setraw(slave)
            self.path.symlink_to(os.ttyname(slave))
            os.close(slave)
            os.set_blocking(self._master, False)

    def unplug(self) -> None:
        """Pull the cable out."""
        with self._lock:
            self.path.unlink()
            os.close(self._master)
            self._master = -1
            self.cuts += 1

    def close(self) -> None:
        """End the thread, the cable and the device."""
        self._ended.set()
        self._pump.join()
        if self._master >= 0:
            self.unplug()
        self.device.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                self._pass_on()
            time.sleep(TURN_SECONDS)

    def _pass_on(self) -> None:
        if self._master >= 0 and select.select([self._master], [], [], 0)[0]:
            try:
                self.device.write(os.read(self._master, 4096))
            except OSError:  # no host has it open
                self._ended.wait(TICK_SECONDS)
        data = self.device.read(TICK_SECONDS)
        if self._master < 0:
            return
        if self._cut_at >= 0 and self._has_come(data):
            self._cut_at = -1
            self.unplug()
            if self._at_once:
                self.plug()
            return
        while data and select.select([], [self._master], [], GIVE_SECONDS)[1]:
            data = data[os.write(self._master, data) :]

    def _has_come(self, data: bytes) -> bool:
        frames = [item for item in self._decoder.feed(data) if isinstance(item, Frame) and item.type == Type.TOKENS]
        heads = [answers.Tokens.parse(frame.payload) for frame in frames]
        return any(head.index + head.count > self._cut_at for head in heads)
