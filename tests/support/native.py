# SPDX-License-Identifier: Apache-2.0
"""The firmware's engine, ops and kernels in this process: ctypes over the native build's libfirmware.so.

The library is loaded once a process. Each Native has an engine, a port and harts of its own, so any number of them run
beside each other. Engine, image and arena lie between pages that cannot be touched: an access that is off by a byte at
the end of the engine or the arena, or anywhere beyond the image, kills the process instead of passing unseen.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from host.errors import DeviceFailure
from tests.support.region import Region

ROOT = Path(__file__).resolve().parents[2]
E_ARENA_SMALL = 12
MAX_ARENA = 1 << 32


@functools.lru_cache
def build_library() -> Path:
    """Build ``board=native`` (nothing to do when it is up to date); $HARTSPEAK_BUILD names another directory."""
    build = Path(os.environ.get("HARTSPEAK_BUILD", ROOT / "build"))
    target = build / "native" / "libfirmware.so"
    command = [sys.executable, "-m", "SCons", "-s", "board=native", f"build={build}", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"scons board=native failed:\n{done.stdout}\n{done.stderr}")
    return target


def family_problem(name: str) -> str:
    """Why this machine cannot run a family of kernels; empty: it can."""
    path = build_library()
    lib = load_library(path, path.stat().st_mtime_ns)
    problem = lib.hosted_choose_kernels(name.encode())
    lib.hosted_choose_kernels(None)
    return problem.decode() if problem else ""


class Memory(ctypes.Structure):
    _fields_ = (
        ("image", ctypes.c_void_p),
        ("image_limit", ctypes.c_uint64),
        ("arena", ctypes.c_void_p),
        ("arena_size", ctypes.c_uint64),
    )


COUNTER = ctypes.CFUNCTYPE(ctypes.c_uint64)


class Port(ctypes.Structure):
    """struct port of firmware/common/port.h."""

    _fields_ = (
        ("board", ctypes.c_char_p),
        ("isa", ctypes.c_char_p),
        ("vlen", ctypes.c_uint32),
        ("harts", ctypes.c_uint32),
        ("pool", ctypes.c_void_p),
        ("uart_clock_hz", ctypes.c_uint32),
        ("memory", Memory),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("idle", ctypes.c_void_p),
        ("time_us", ctypes.c_void_p),
        ("instret", COUNTER),
        ("cycles", COUNTER),
        ("counters", ctypes.c_uint32),
        ("hart_sleep", ctypes.c_void_p),
        ("hart_wake", ctypes.c_void_p),
        ("exit", ctypes.c_void_p),
        ("set_baud", ctypes.c_void_p),
        ("baud", ctypes.c_uint32),
        ("image_area", ctypes.c_void_p),
        ("image_area_size", ctypes.c_uint64),
        ("slot", ctypes.c_void_p),
        ("fail", ctypes.c_void_p),
    )


class Row(ctypes.Structure):
    """struct engine_row."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("session", "position", "token", "want_logits"))


class Info(ctypes.Structure):
    """struct engine_info."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ["vocab", "context", "max_rows", "max_logit_rows", "sessions", "layers"]),
        *((name, ctypes.c_uint32) for name in ["overflow", "output_kind", "output_width", "whole"]),
        *((name, ctypes.c_uint32) for name in ["bos", "stop_count"]),
        ("stop_ids", ctypes.c_uint32 * 8),
        *((name, ctypes.c_uint64) for name in ["image_bytes", "weight_bytes", "arena_bytes", "runtime_bytes"]),
        ("root", ctypes.c_uint8 * 32),
    )


class OpStats(ctypes.Structure):
    """struct engine_op_stats."""

    _fields_ = (
        ("id", ctypes.c_uint32),
        ("weight", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("calls", "instret", "cycles")),
    )


class Params(ctypes.Structure):
    """struct sampler_params."""

    _fields_ = (
        ("temperature", ctypes.c_float),
        ("top_k", ctypes.c_uint32),
        ("top_p", ctypes.c_float),
        ("min_p", ctypes.c_float),
        ("repeat_penalty", ctypes.c_float),
        ("repeat_last", ctypes.c_uint32),
        ("seed", ctypes.c_uint64),
    )


def params(
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repeat_penalty: float = 1.0,
    repeat_last: int = 0,
    seed: int = 0,
) -> Params:
    """Sampler parameters, all stages off unless named."""
    return Params(temperature, top_k, top_p, min_p, repeat_penalty, repeat_last, seed)


_ports: list[Port] = []
"""Ports whose harts are threads: they never end and read them to sleep."""

POLL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Native:
    """An engine with a port of its own. ``lib`` is the library, for calling its functions directly; those of the engine
    take ``engine`` first. ``beside`` is another one whose harts this one uses, too: not both at the same time."""

    def __init__(self, harts: int = 1, library: Path | None = None, beside: Native | None = None) -> None:
        path = library or build_library()
        self.lib = load_library(path, path.stat().st_mtime_ns)
        self._counter = 0
        self.port = Port(board=b"native", isa=b"native", harts=harts, counters=1)
        self.port.instret = COUNTER(self._count)
        self.port.cycles = COUNTER(self._count)
        self._image: Region | None = None
        self._arena: Region | None = None
        self._poll = POLL()
        if beside:
            for name in ("harts", "pool", "time_us", "hart_sleep", "hart_wake"):
                setattr(self.port, name, getattr(beside.port, name))
        else:
            self._start_harts()
        memory = Region(self.lib.engine_bytes())
        memory.view[:] = 0xA5
        self.engine = ctypes.c_void_p(memory.address)
        self.lib.engine_init(self.engine, ctypes.byref(self.port))

    def _start_harts(self) -> None:
        if self.port.harts > 1:
            _ports.append(self.port)
        self._check(self.lib.hosted_start_harts(make_harts(self.lib), ctypes.byref(self.port)))

    def _count(self) -> int:
        self._counter += 1
        return self._counter

    # ---- loading ----

    def load(self, image: bytes | Path, arena_bytes: int | None = None, verify: bool = True) -> Info:
        """Load an image, by default into an arena of exactly what it needs. DeviceFailure as engine_load()."""
        data = image.read_bytes() if isinstance(image, Path) else image
        self._place_image(data)
        if arena_bytes is None:
            arena_bytes = self._needed()
        self._place_arena(arena_bytes)
        self._engine_load()
        if verify:
            self.verify()
        return self.info

    def verify(self) -> None:
        """Check the hash tree. DeviceFailure with the first wrong leaf as detail."""
        detail = ctypes.c_uint64()
        self._check(self.lib.engine_verify(self.engine, ctypes.byref(detail)), detail.value)

    def _place_image(self, data: bytes) -> None:
        if self._image is not None:
            self._image.close()
        size = -(-len(data) // 64) * 64
        self._image = Region(max(size, 64))
        self._image.view[: len(data)] = np.frombuffer(data, np.uint8)
        self._image.protect()
        self.port.memory.image = self._image.address
        self.port.memory.image_limit = len(data)

    def _place_arena(self, size: int) -> None:
        if self._arena is None or self._arena.size != size:
            if self._arena is not None:
                self._arena.close()
            self._arena = Region(size)
        self._arena.view[:] = 0xA5
        self.port.memory.arena = self._arena.address
        self.port.memory.arena_size = size

    def _needed(self) -> int:
        """Bytes of arena that the engine asks for when it gets none; 64 where loading fails before it asks."""
        self._place_arena(64)
        self.port.memory.arena_size = 0
        try:
            self._engine_load()
        except DeviceFailure as failure:
            if failure.number == E_ARENA_SMALL and failure.detail < MAX_ARENA:
                return failure.detail
        return 64

    def _engine_load(self) -> None:
        detail = ctypes.c_uint64()
        self._check(self.lib.engine_load(self.engine, ctypes.byref(detail)), detail.value)

    @staticmethod
    def _check(error: int, detail: int = 0) -> None:
        if error:
            raise DeviceFailure(-error, detail)

    def intact(self) -> bool:
        """Whether nothing was written in front of the arena; behind it there is a guard page."""
        return self._arena is None or self._arena.intact()

    @property
    def arena(self) -> npt.NDArray[np.uint8]:
        """The arena's bytes: activations first, then what sessions keep."""
        assert self._arena is not None
        return self._arena.view

    @property
    def loaded(self) -> bool:
        return bool(self.lib.engine_info(self.engine))

    @property
    def info(self) -> Info:
        return self.lib.engine_info(self.engine).contents

    # ---- stepping ----

    def step(self, rows: Sequence[tuple[int, int, int, int]]) -> npt.NDArray[np.float32]:
        """Run rows of (session, position, token, want_logits); returns [rows that want logits][vocab]."""
        array = (Row * max(len(rows), 1))(*(Row(*row) for row in rows))
        self._check(self.lib.engine_step(self.engine, array, len(rows)))
        wanted = sum(1 for row in rows if row[3])
        return (
            np.stack([self.logits(i) for i in range(wanted)])
            if wanted
            else np.empty((0, self.info.output_width), np.float32)
        )

    def logits(self, i: int) -> npt.NDArray[np.float32]:
        """A copy of the i-th logits of the last step."""
        return np.ctypeslib.as_array(self.lib.engine_logits(self.engine, i), (self.info.output_width,)).copy()

    def feed(
        self, tokens: Sequence[int], session: int = 0, chunk: int = 0, every: bool = False
    ) -> npt.NDArray[np.float32]:
        """Append tokens to a session in chunks; returns the logits of the last row, or with ``every`` of each."""
        chunk = chunk or self.info.max_rows
        if every:
            chunk = min(chunk, self.info.max_logit_rows)
        found: list[npt.NDArray[np.float32]] = []
        start = self.length(session)
        for i in range(0, len(tokens), chunk):
            part = tokens[i : i + chunk]
            last = i + chunk >= len(tokens)
            rows = [
                (session, start + i + j, token, int(every or (last and j == len(part) - 1)))
                for j, token in enumerate(part)
            ]
            found.append(self.step(rows))
        return np.concatenate(found)

    def length(self, session: int = 0) -> int:
        return int(self.lib.engine_length(self.engine, session))

    def truncate(self, length: int, session: int = 0) -> None:
        self._check(self.lib.engine_truncate(self.engine, session, length))

    def token(self, position: int, session: int = 0) -> int:
        return int(self.lib.engine_token(self.engine, session, position))

    def set_poll(self, poll: Callable[[], int] | None) -> None:
        """Called between ops; a non-zero result abandons the step."""
        self._poll = POLL(lambda _: poll()) if poll else POLL()
        self.lib.engine_set_poll(self.engine, self._poll, None)

    def stats(self) -> list[OpStats]:
        total = self.lib.engine_stats(self.engine, None, 0, 0)
        out = (OpStats * total)()
        self.lib.engine_stats(self.engine, out, total, 0)
        return list(out)

    # ---- parts ----

    def sample(self, sampler: Params, logits: npt.NDArray[np.float32], session: int = 0) -> int:
        """The next token; DeviceFailure where the parameters are out of range."""
        self._check(self.lib.sampler_check(ctypes.byref(sampler)))
        scratch = np.ascontiguousarray(logits, np.float32).copy()
        pointer = scratch.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        return int(self.lib.engine_sample(self.engine, ctypes.byref(sampler), session, pointer))

    def philox(self, key: Sequence[int], counter: Sequence[int]) -> list[int]:
        out = (ctypes.c_uint32 * 4)()
        self.lib.philox_block((ctypes.c_uint32 * 2)(*key), (ctypes.c_uint32 * 4)(*counter), out)
        return list(out)


@functools.lru_cache
def load_library(path: Path, state: int) -> ctypes.CDLL:
    """The library at ``path`` as it is; ``state`` is another where it was built anew.

    What is loaded is a copy: dlopen() gives the old library for a name that it knows, and a file in use must not
    change.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"{state}-{path.name}"
        shutil.copy(path, copy)
        lib = ctypes.CDLL(str(copy))
    lib.hosted_choose_kernels.restype = ctypes.c_char_p
    if problem := lib.hosted_choose_kernels(None):
        raise RuntimeError(problem.decode())
    lib.engine_info.restype = ctypes.POINTER(Info)
    lib.engine_logits.restype = ctypes.POINTER(ctypes.c_float)
    lib.engine_bytes.restype = lib.hosted_harts_bytes.restype = ctypes.c_size_t
    lib.engine_tokenizer.restype = lib.engine_state_at.restype = ctypes.c_void_p
    lib.engine_state_bytes.restype = lib.engine_state_history_bytes.restype = ctypes.c_uint64
    lib.engine_state_at.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p]
    for name in ("engine_length", "engine_token", "engine_sample", "engine_stats", "engine_high"):
        getattr(lib, name).restype = ctypes.c_uint32
    return lib


def make_harts(lib: ctypes.CDLL) -> ctypes.c_void_p:
    """Memory for hosted_start_harts(), which is never given back: harts are threads that never end."""
    return ctypes.c_void_p(Region(lib.hosted_harts_bytes()).address)
