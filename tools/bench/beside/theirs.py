# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's side: the prebuilt library of the package ``xllamacpp`` in a process of its own."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from host.bench.measure import bench_tokens
from host.errors import TargetError, UsageError
from tools.bench.beside.costs import Spent

ROOT = Path(__file__).resolve().parents[3]
EXTRA = "llamacpp"
LOG_BYTES = 2000


def check_installed() -> None:
    """UsageError, with what to type, where llama.cpp's package is missing or another one than pyproject.toml pins."""
    pinned = re.search(r'"(xllamacpp==([^ ;"]+))', (ROOT / "pyproject.toml").read_text())
    assert pinned
    try:
        found = importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(f"llama.cpp is not installed: pip install {pinned[1]} (the extra {EXTRA!r})") from None
    if found != pinned[2]:
        raise UsageError(f"xllamacpp {found} is installed; figures are of {pinned[2]}: pip install {pinned[1]}")


@dataclass
class Theirs:
    """The process. vocab: of the model that it runs, for the ids of prompts."""

    process: subprocess.Popen[str]
    log: IO[bytes]
    vocab: int
    version: str = ""
    system: str = ""
    """Its CPU backend's own words: the instructions that it uses."""

    def start(self) -> None:
        """Take what it says when the model is loaded."""
        said = self._answer()
        self.version, self.system = said["version"], said["system"]

    def run(self, prompt: int, generate: int) -> Spent:
        """See Side."""
        assert self.process.stdin
        try:
            asked = {"tokens": bench_tokens(prompt, self.vocab), "generate": generate}
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None
        said = self._answer()
        return Spent(said["cpu"], said["first"], said["total"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise self._gone()
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise TargetError(f"llama.cpp did not do as told: {said['error']}")
        return said

    def _gone(self) -> TargetError:
        code = self.process.wait()
        self.log.seek(0)
        words = self.log.read()[-LOG_BYTES:].decode(errors="replace").strip()
        how = f"by signal {-code}" if code < 0 else f"with {code}"
        return TargetError(f"llama.cpp ended {how}; its last words:\n{words}")


@contextmanager
def open_theirs(model: Path, threads: int, vocab: int, command: Sequence[str] = ()) -> Iterator[Theirs]:
    """llama.cpp with a GGUF file. command: another program that speaks as llama_child does. Raises HostError."""
    if not command:
        check_installed()
        command = [sys.executable, "-m", "tools.bench.beside.llama_child", str(model), str(threads)]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(list(command), stdin=pipe, stdout=pipe, stderr=log, text=True, cwd=ROOT) as process,
    ):
        theirs = Theirs(process, log, vocab)
        try:
            theirs.start()
            yield theirs
        finally:
            process.kill()
