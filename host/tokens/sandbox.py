# SPDX-License-Identifier: Apache-2.0
"""Where tokenizers and chat templates of strangers run: a child process with limits, never this one.

A tokenizer.json holds regular expressions, replacements and tables, a chat template is a program; both may come from
anybody and both reach native code that ends the whole process when it runs out of stack or memory. So this process
parses and runs none of them. The child (host/tokens/sandbox_worker.py) is started when the first request comes, kept,
and started again after it died; one child serves all models of this process. It has limits of memory (address space:
Linux; macOS has the call but does not enforce it, so there only time and output are bounded), of processor time a
request, of output, and none of its own files may grow. Without the module ``resource`` (Windows) the time is that of
a clock.

The child is in a session of its own, so Ctrl-C does not reach it; it ends when this process does, however that ends,
because its stdin ends then, and a request that runs at that moment has its limit of time.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("sandbox_worker.py")
LIBRARIES = ("tokenizers", "minijinja")
SECONDS = 10
"""Processor time of a request; each MiB that is sent adds two seconds."""
PATIENCE = 10
"""How many times as long a request may take by the clock, on a machine that is busy."""
MAX_OUTPUT = 64 << 20
"""Bytes of one answer."""
DEATHS = {
    signal.SIGSEGV: "it is nested too deep",
    signal.SIGABRT: "it takes too much memory, or is nested too deep",
    signal.SIGXCPU: "it takes too long",
    signal.SIGKILL: "it takes too much memory or time",
    signal.SIGBUS: "it is nested too deep",
}


class SandboxError(Exception):
    """What a stranger's data did; ``kind`` is the worker's word for it, "died" where it ended the child."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind

    @property
    def harmful(self) -> bool:
        """Whether it broke a limit, rather than being merely wrong."""
        return self.kind in ("died", "memory", "depth", "output")


class Sandbox:
    """The child process. Safe for threads; a fork of this process gets a child of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def request(self, op: str, limit: int = MAX_OUTPUT, **values: Any) -> Any:
        """The worker's answer to an operation. Raises SandboxError; the child is started anew after it died."""
        body = json.dumps(values).encode()
        seconds = SECONDS + (len(body) >> 19)
        head = json.dumps({"op": op, "limit": limit, "seconds": seconds}).encode()
        data = head[:-1] + (b", " + body[1:] if values else b"}")
        with self._lock:
            process = self._started()
            try:
                answer = json.loads(self._exchange(process, data, limit, seconds))
            except ValueError:
                self.close()
                raise SandboxError("died", "the process that reads it answers with nonsense") from None
            except BaseException:
                self.close()  # half an answer may be under way
                raise
        if "value" in answer:
            return answer["value"]
        raise SandboxError(str(answer.get("kind")), str(answer.get("words")))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        if self._owner != os.getpid():
            self._process = None  # a fork's parent has it
        self.close()
        command = [sys.executable, "-I", "-S", "-B", str(WORKER), *_library_folders()]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )
        self._owner = os.getpid()
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes, limit: int, seconds: int) -> bytes:
        assert process.stdin is not None
        end = time.monotonic() + PATIENCE * seconds + 30
        try:
            _write(process.stdin.fileno(), len(data).to_bytes(4, "little") + data)
            size = int.from_bytes(self._read(process, 4, end), "little")
            if size > limit + 2000:
                raise SandboxError("output", f"it makes more than {limit >> 20} MiB of text")
            return self._read(process, size, end)
        except BrokenPipeError:
            raise self._died(process) from None

    def _read(self, process: subprocess.Popen[bytes], size: int, end: float) -> bytes:
        assert process.stdout is not None
        parts, missing = [], size
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while missing:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise SandboxError("died", "it takes too long")
                part = os.read(process.stdout.fileno(), missing)
                if not part:
                    raise self._died(process)
                parts.append(part)
                missing -= len(part)
        return b"".join(parts)

    def _died(self, process: subprocess.Popen[bytes]) -> SandboxError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        code = process.returncode or 0
        if code < 0:
            return SandboxError("died", DEATHS.get(signal.Signals(-code), f"it ended the process by signal {-code}"))
        return SandboxError("died", f"the process that reads it ended with {code}")

    def close(self) -> None:
        """End the child; the next request starts another."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _library_folders() -> list[str]:
    """Where the child finds the libraries; found without importing them."""
    specs = [importlib.util.find_spec(name) for name in LIBRARIES]
    origins = [Path(spec.origin).parent.parent for spec in specs if spec is not None and spec.origin]
    return [str(folder) for folder in dict.fromkeys(origins)]


SANDBOX = Sandbox()
"""The one of this process."""
atexit.register(SANDBOX.close)


class Loaded:
    """Something that the child holds under the hash of what made it; loaded again whenever the child lost it."""

    def __init__(self, op: str, **values: Any) -> None:
        """Raises SandboxError where the child cannot read it."""
        self._op, self._values = op, values
        self._key = hashlib.sha256(json.dumps([op, values]).encode()).hexdigest()
        facts = _FACTS.get(self._key)
        if facts is None:
            facts = _FACTS[self._key] = self._load()
            while len(_FACTS) > MAX_FACTS:
                del _FACTS[next(iter(_FACTS))]
        self.facts: dict[str, Any] = facts

    def _load(self) -> dict[str, Any]:
        return dict(SANDBOX.request(self._op, key=self._key, **self._values))

    def ask(self, op: str, limit: int = MAX_OUTPUT, **values: Any) -> Any:
        """An operation on it. Raises SandboxError."""
        try:
            return SANDBOX.request(op, limit, key=self._key, **values)
        except SandboxError as error:
            if error.kind != "absent":
                raise
        self._load()
        return SANDBOX.request(op, limit, key=self._key, **values)


MAX_FACTS = 64
_FACTS: dict[str, dict[str, Any]] = {}
"""What the child said of what it read, by key: the same file is not read twice."""
