# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of large files, with a progress bar on whatever takes longer than a second."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

CHUNK = 1 << 20
PATIENCE = 1.0


def chunks(file: BinaryIO, size: int, title: str) -> Iterator[bytes]:
    """The bytes of an open file in pieces, with a bar on stderr from the second second on."""
    begun, done = time.monotonic(), 0
    progress: Progress | None = None
    try:
        while piece := file.read(CHUNK):
            yield piece
            done += len(piece)
            if progress is None and time.monotonic() - begun > PATIENCE:
                progress = _start_bar(size, title)
            if progress is not None:
                progress.update(progress.task_ids[0], completed=done)
    finally:
        if progress is not None:
            progress.stop()


def _start_bar(size: int, title: str) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    progress.add_task(title, total=size)
    progress.start()
    return progress


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in chunks(file, path.stat().st_size, f"hashing {path.name}"):
            digest.update(piece)
    return digest.hexdigest()
