# SPDX-License-Identifier: Apache-2.0
"""The native firmware in a child process whose clock its parent moves: a device and a line without any waiting.

Nothing depends on how fast the machine is: the same seed gives the same run, and minutes of silence cost nothing.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import signal
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from host.errors import TargetError
from host.faults import Faults, Kind, Way
from tests.support.native import COUNTER, Port, build_library, make_harts

ARENA_BYTES = 16 << 20
STEP_SECONDS = 0.002
"""Seconds between two looks of device and host at each other."""
LEAST_SECONDS = 1e-6
"""Seconds that a read takes: without them a host that only looks would stop the time."""
OP_SECONDS = 20e-6
"""Seconds that the device takes for an op, between two looks at its line."""
IDLE_SECONDS = 0.05
"""Seconds between two looks while the device idles and nothing is under way; the device's timers are as coarse."""
HEAD = struct.Struct("<d?I")
"""To the device: time to run to; from it: its time, whether it idles; then the number of bytes that follow."""

_READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint32)
_TIME = ctypes.CFUNCTYPE(ctypes.c_uint64)
_VOID = ctypes.CFUNCTYPE(None)
_EXIT = ctypes.CFUNCTYPE(None, ctypes.c_int)
_SLOT_IO = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint32)
_SLOT_FINISH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)
_SLOT_CONFIRM = ctypes.CFUNCTYPE(ctypes.c_int)


class _PortSlot(ctypes.Structure):
    """struct port_slot."""

    _fields_ = (
        ("bytes", ctypes.c_uint64),
        ("read", _SLOT_IO),
        ("write", _SLOT_IO),
        ("finish", _SLOT_FINISH),
        ("confirm", _SLOT_CONFIRM),
    )


class _MemorySlot:
    """A slot of a medium that is kept in memory and never fails."""

    def __init__(self, data: bytes, size: int) -> None:
        self._bytes = ctypes.create_string_buffer(data, size)
        self.port = _PortSlot(
            size,
            _SLOT_IO(self._read),
            _SLOT_IO(self._write),
            _SLOT_FINISH(lambda _: 0),
            _SLOT_CONFIRM(lambda: 0),
        )

    def _read(self, offset: int, to: int, size: int) -> int:
        ctypes.memmove(to, ctypes.addressof(self._bytes) + offset, size)
        return 0

    def _write(self, offset: int, data: int, size: int) -> int:
        ctypes.memmove(ctypes.addressof(self._bytes) + offset, data, size)
        return 0


class _Child:
    """The port of the firmware in the child; ``line`` leads to the parent."""

    def __init__(self, line: socket.socket, baud: float, op_seconds: float) -> None:
        self._line = line.makefile("rwb")
        self._byte_seconds = 10 / baud if baud else 0.0
        self._op_seconds = op_seconds
        self._now = self._until = 0.0
        self._looking = False
        """Whether no op has run since the last look at the line."""
        self._received = bytearray()
        self._sent = bytearray()
        # Callbacks must outlive the call that the firmware never returns from.
        self._callbacks: dict[str, Any] = {
            "read": _READ(self._read),
            "write": _READ(self._write),
            "idle": _VOID(self._idle),
            "time_us": _TIME(lambda: int(self._now * 1e6)),
            "exit": _EXIT(os._exit),
        }

    def run(self, library: ctypes.CDLL, image: Path | None, area: int, slot: int) -> NoReturn:
        """Be the device for ever."""
        data = image.read_bytes() if image else b""
        size = -(-max(len(data), area, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        places = [mmap.mmap(-1, size), mmap.mmap(-1, ARENA_BYTES)]
        places[0].write(data)
        port = Port(board=b"native", isa=b"native", harts=1)
        library.hosted_start_harts(make_harts(library), ctypes.byref(port))
        for name, callback in self._callbacks.items():
            setattr(port, name, ctypes.cast(callback, ctypes.c_void_p))
        port.instret = port.cycles = COUNTER(lambda: 0)
        addresses = [ctypes.addressof(ctypes.c_uint8.from_buffer(place)) for place in places]
        port.memory.image, port.memory.arena = addresses
        port.memory.image_limit, port.memory.arena_size = max(len(data), area), ARENA_BYTES
        if area:
            port.image_area, port.image_area_size = addresses[0], area
        if slot:
            medium = _MemorySlot(data, slot)
            port.slot = ctypes.cast(ctypes.pointer(medium.port), ctypes.c_void_p)
        self._exchange()
        library.device_run(ctypes.byref(port))
        os._exit(0)

    def _exchange(self, idle: bool = False) -> None:
        """Give the parent what was sent; go on when it says so."""
        self._line.write(HEAD.pack(self._now, idle, len(self._sent)) + self._sent)
        self._line.flush()
        self._sent.clear()
        head = self._line.read(HEAD.size)
        if len(head) < HEAD.size:
            os._exit(0)
        self._until, _, count = HEAD.unpack(head)
        self._received += self._line.read(count)

    def _advance(self, seconds: float) -> None:
        self._now += seconds
        while self._now >= self._until:
            self._exchange()

    def _read(self, to: Any, size: int) -> int:
        self._advance(0.0 if self._looking else self._op_seconds)
        count = min(size, len(self._received))
        self._looking = count > 0
        if count:
            ctypes.memmove(to, bytes(self._received[:count]), count)
            del self._received[:count]
        return count

    def _write(self, data: Any, size: int) -> int:
        self._sent += ctypes.string_at(data, size)
        self._advance(size * self._byte_seconds)
        return 0

    def _idle(self) -> None:
        if not self._received:
            self._now = max(self._now, self._until)
            self._exchange(idle=True)
            self._looking = True


class LockstepLine:
    """A ByteStream to a device of its own with a line of any speed and any faults in between; ``now`` is its clock.

    faults: of both ways, with seeds made from its own. baud: bits a second, 0 for a line without timing. op_seconds:
    what the device takes for an op. idle_seconds: how coarse its timers are. step_seconds: how often device and host
    look at each other. area: bytes of an image area, which the image lies in. slot: bytes of a slot of a medium, which
    has the image, too.
    """

    description = "the lockstep device"

    def __init__(
        self,
        image: Path | None,
        faults: Faults | None = None,
        baud: float = 0,
        op_seconds: float = OP_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        step_seconds: float = STEP_SECONDS,
        area: int = 0,
        slot: int = 0,
    ) -> None:
        self._image = image
        self._area = area
        self._slot = slot
        self._baud = baud
        self._op_seconds = op_seconds
        self._idle_seconds = idle_seconds
        self._step_seconds = step_seconds
        self._library = ctypes.CDLL(str(build_library()))
        self._library.hosted_choose_kernels(None)
        self.seconds = 0.0
        self.set_faults(faults)
        self._start()

    def set_faults(self, faults: Faults | None) -> None:
        """Begin with other faults; what is under way is lost."""
        ways = [Faults(f"{faults.seed}/{way}", faults.gap, faults.kinds) if faults else None for way in ("to", "from")]
        self.to_device, self.to_host = (Way(way, self._baud) for way in ways)

    def now(self) -> float:
        """Seconds on the line's clock."""
        return self.seconds

    @property
    def faults(self) -> Counter[Kind]:
        """The faults since they were set."""
        return self.to_device.counts + self.to_host.counts

    @property
    def noise(self) -> int:
        """Bytes of both ways that noise has replaced since the faults were set."""
        return self.to_device.noise + self.to_host.noise

    @property
    def alive(self) -> bool:
        """Whether the device runs; it dies only of itself."""
        return bool(self._pid)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        gc.freeze()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                ours.close()
                # The child must not flush what the parent has written.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _Child(theirs, self._baud, self._op_seconds).run(self._library, self._image, self._area, self._slot)
            finally:
                os._exit(70)
        gc.unfreeze()
        theirs.close()
        self._socket = ours
        self._line = ours.makefile("rwb")
        self._born = self.seconds
        self._output()

    def _output(self) -> bytes:
        head = self._line.read(HEAD.size)
        if len(head) < HEAD.size:
            _, status = os.waitpid(self._pid, 0)
            self._pid = 0
            raise TargetError(f"the device died: status {status:#x}")
        _, self._idle, count = HEAD.unpack(head)
        return self._line.read(count)

    def read(self, timeout: float) -> bytes:
        """See ByteStream; time passes only here."""
        end = self.seconds + max(timeout, LEAST_SECONDS)
        while not (data := self.to_host.take(self.seconds)) and self.seconds < end:
            self._step(min(end, self._next()))
        return data

    def _next(self) -> float:
        """When host and device look at each other again."""
        if not self._idle or self.to_device.due is not None:
            return self.seconds + self._step_seconds
        return max(
            self.seconds + self._step_seconds, min(self.seconds + self._idle_seconds, self.to_host.due or float("inf"))
        )

    def _step(self, until: float) -> None:
        if not self._pid:
            raise TargetError("the device is dead")
        data = self.to_device.take(self.seconds)
        self._line.write(HEAD.pack(until - self._born, False, len(data)) + data)
        self._line.flush()
        output = self._output()
        self.seconds = until
        if output:
            self.to_host.put(output, until)

    def write(self, data: bytes) -> None:
        """See ByteStream."""
        self.to_device.put(data, self.seconds)

    def reset(self) -> None:
        """Kill the device and start it anew."""
        self.close()
        self._start()

    def close(self) -> None:
        """End the device."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        self._line.close()
        self._socket.close()
