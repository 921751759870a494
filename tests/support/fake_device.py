# SPDX-License-Identifier: Apache-2.0
"""The device end of the link built for this machine around a fake engine, as a child process or as a library."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from host.errors import TargetError
from tools import gen_headers, gen_unicode

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O1",
    "-fsanitize=undefined",
    "-fsanitize-trap=undefined",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffp-contract=off",
]
CODEC = [f"firmware/link/{name}.c" for name in ("frame", "cobs", "ring", "validate")]
CODEC += ["firmware/common/crc32c.c", "firmware/jobs/pending.c"]


def _compile(name: str, sources: list[Path], extra: list[str]) -> Path:
    """Build once for each state of the sources, one process at a time; the result is kept in build/tests."""
    out = ROOT / "build" / "tests" / "link"
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _compiled(out, name, sources, extra)


def _compiled(out: Path, name: str, sources: list[Path], extra: list[str]) -> Path:
    headers = {"wire": "wire.h", "errors": "errors.h", "image": "image_format.h", "selector": "selector.h"}
    for kind, header in headers.items():
        gen_headers.main(["gen_headers", kind, str(out / "gen" / header)])
    if not (out / "gen" / "unicode.h").exists():
        gen_unicode.main(out / "gen" / "unicode.h")
    inputs = [*sources, *sorted((ROOT / "firmware").rglob("*.h")), *sorted((out / "gen").glob("*.h"))]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in inputs) + repr(extra).encode()).hexdigest()[:16]
    result = out / f"{name}-{state}"
    if not result.exists():
        partial = result.with_suffix(f".{os.getpid()}")
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *extra, "-I", str(ROOT / "firmware"), "-I", str(out)]
        subprocess.run([*command, *map(str, sources), "-o", str(partial)], check=True)
        partial.rename(result)
    return result


def build_device() -> Path:
    """An executable that is a device on stdin and stdout."""
    firmware = ROOT / "firmware"
    folders = ("link", "jobs", "serve", "terminal", "tokenizer")
    sources = [path for folder in folders for path in sorted((firmware / folder).glob("*.c"))]
    sources += [firmware / "common/crc32c.c", firmware / "common/console.c"]
    sources += [firmware / "flash" / f"{name}.c" for name in ("selector", "update", "update_slot")]
    support = ROOT / "tests" / "support"
    return _compile("device", [*sources, support / "fake_engine.c", support / "fake_port.c"], [])


def load_codec() -> ctypes.CDLL:
    """Codec, ring, validator and pending queue as a shared library; $HARTSPEAK_CODEC names one to be measured."""
    measured = os.environ.get("HARTSPEAK_CODEC")
    path = measured or _compile("codec.so", [ROOT / source for source in CODEC], ["-shared", "-fPIC"])
    return ctypes.CDLL(str(path))


class FakeDevice:
    """A ByteStream to a fresh device process. ``settings`` become its FAKE_* environment."""

    def __init__(self, **settings: object) -> None:
        names = {f"FAKE_{name.upper()}": str(value) for name, value in settings.items()}
        self.process = subprocess.Popen(
            [str(build_device())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **names}, bufsize=0
        )
        self.settings = settings
        self.sent = bytearray()

    @property
    def description(self) -> str:
        return "the fake device"

    def read(self, timeout: float) -> bytes:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            return b""
        data = os.read(self.process.stdout.fileno(), 4096)
        if not data:
            raise TargetError(f"the fake device ended with {self.process.wait()}")
        return data

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.sent += data
        try:
            self.process.stdin.write(data)
        except BrokenPipeError as error:
            raise TargetError("the fake device is gone") from error

    def restart(self) -> None:
        """What a reset does: another process on the same line."""
        fresh = FakeDevice(**self.settings)
        self.process, fresh.process = fresh.process, self.process
        fresh.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def read_for(self, seconds: float) -> bytes:
        """All that comes within a time."""
        data = b""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            data += self.read(left)
        return data


class FakeServer:
    """The fake device behind a TCP port, one fresh process a connection: what ``--target socket://`` reaches."""

    def __init__(self, **settings: object) -> None:
        self.environment = {**os.environ, **{f"FAKE_{name.upper()}": str(value) for name, value in settings.items()}}
        self.processes: list[subprocess.Popen[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._program = str(build_device())
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def target(self) -> str:
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                time.sleep(0.2)  # pyserial drops what arrives while it opens a socket
                command = [self._program]
                process = subprocess.Popen(command, stdin=connection, stdout=connection, env=self.environment)
                self.processes.append(process)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone leaves accept() waiting
        self._listener.close()
        for process in self.processes:
            process.kill()
            process.wait()
