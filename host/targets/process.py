# SPDX-License-Identifier: Apache-2.0
"""A child process as a byte stream; it never outlives this process."""

from __future__ import annotations

import atexit
import ctypes
import queue
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import IO

from host.errors import TargetError
from host.targets.base import Target

CHUNK = 1 << 16
LOG_LINES = 40
CLOSE_SECONDS = 2.0
PR_SET_PDEATHSIG = 1

_open: weakref.WeakSet[ProcessTarget] = weakref.WeakSet()


def die_with_parent() -> Callable[[], None] | None:
    """What the child runs so that it ends with us, even when we are killed; None where there is no such call."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command: list[str], what: str, **streams: object) -> subprocess.Popen[bytes]:
    """Start a child in its own session, so that Ctrl-C reaches only us. Raises TargetError."""
    try:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command, start_new_session=True, preexec_fn=die_with_parent(), bufsize=0, **streams
        )
    except OSError as error:
        raise TargetError(f"{what} cannot be started: {command[0]}: {error.strerror}") from None


class ProcessTarget(Target):
    """A simulator or hosted firmware with the link on its stdin and stdout, or on a socket pair (``link_fd``).

    Threads drain its output, for Spike aborts when nobody reads. ``command`` is given the child's end of the socket
    pair where ``on_socket``.
    """

    def __init__(self, command: Callable[[int], list[str]], description: str, on_socket: bool = False) -> None:
        self.description = description
        self._command = command
        self._on_socket = on_socket
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._closed = False
        self._start()
        _open.add(self)

    def _start(self) -> None:
        # Not a SimpleQueue: its get() waits for ever where a signal comes as its time ends.
        self._received: queue.Queue[bytes] = queue.Queue()
        self._socket: socket.socket | None = None
        self._ended = False
        pipe = subprocess.PIPE
        if self._on_socket:
            self._socket, theirs = socket.socketpair()
            streams = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": subprocess.STDOUT}
            with theirs:
                fd = theirs.fileno()
                self._process = start(self._command(fd), self.description, **streams, pass_fds=(fd,))
        else:
            self._process = start(self._command(-1), self.description, stdin=pipe, stdout=pipe, stderr=pipe)
        log = self._process.stdout if self._on_socket else self._process.stderr
        self._threads = [threading.Thread(target=self._drain, args=(self._received,), daemon=True)]
        self._threads.append(threading.Thread(target=self._drain_log, args=(log,), daemon=True))
        for thread in self._threads:
            thread.start()

    def _receive(self) -> bytes:
        if self._socket:
            return self._socket.recv(CHUNK)
        assert self._process.stdout
        return self._process.stdout.read(CHUNK) or b""

    def _drain(self, received: queue.Queue[bytes]) -> None:
        try:
            while data := self._receive():
                received.put(data)
        except (OSError, ValueError):
            pass
        received.put(b"")

    def _drain_log(self, stream: IO[bytes]) -> None:
        try:
            for line in stream:
                self._log.append(line.decode(errors="replace").rstrip())
        except (OSError, ValueError):
            pass

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def exit_reason(self) -> str:
        """Exit status or signal."""
        code = self._process.poll()
        if code is None:
            return ""
        return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"

    @property
    def log_tail(self) -> str:
        """The last lines of the process's stderr."""
        return "\n".join(self._log)

    def read(self, timeout: float) -> bytes:
        """What has arrived; see Target."""
        if self._ended:
            raise self._gone()
        try:
            data = self._received.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return b""
        if not data:
            self._ended = True
            raise self._gone()
        parts = [data]
        while not self._received.empty() and len(parts) < 64:
            data = self._received.get()
            if not data:
                self._ended = True
                break
            parts.append(data)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Send all of it; see Target."""
        try:
            if self._socket:
                self._socket.sendall(data)
                return
            assert self._process.stdin
            view = memoryview(data)
            while view:
                view = view[self._process.stdin.write(view) or 0 :]
        except (OSError, ValueError):
            raise self._gone() from None

    def _gone(self) -> TargetError:
        if self._closed:
            return TargetError(f"{self.description} has been closed")
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._threads[1].join(CLOSE_SECONDS)
        tail = f"; its last words:\n{self.log_tail}" if self._log else ""
        return TargetError(f"{self.description} went away ({self.exit_reason}){tail}")

    def reset(self) -> None:
        """Start the process anew; what the last one said and nobody read is lost, as on a board."""
        if self._closed:
            raise self._gone()
        self._process.kill()
        self._end()
        self._start()

    def close(self) -> None:
        """End the process: politely by closing its input, then by force."""
        if self._closed:
            return
        self._closed = True
        _open.discard(self)
        if self._socket:
            self._process.terminate()
        elif self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(0.3)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)
        for stream in (self._socket, self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()


@atexit.register
def _close_all() -> None:
    for target in list(_open):
        target.close()
