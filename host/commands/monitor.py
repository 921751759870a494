# SPDX-License-Identifier: Apache-2.0
"""``host monitor``: show what a serial line carries, as text and decoded frames or byte for byte."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from host.errors import UsageError
from host.link.describe import describe
from host.link.frames import Decoder
from host.output import begins_with, check_output
from host.targets import open_target
from host.words import shown_lines

READ_SECONDS = 0.1


def read_port(port: str, baud: int) -> Iterator[bytes]:
    """Yield what arrives on a port or URL, also nothing every tenth of a second. TargetError when it fails."""
    spec = port if "://" in port else f"serial:{port}@{baud}"
    with open_target(spec, None) as line:
        while True:
            yield line.read(READ_SECONDS)


def register(app: typer.Typer) -> None:
    """Add ``host monitor``."""

    @app.command()
    def monitor(
        port: Annotated[str, typer.Argument(help="Serial port, or socket://HOST:PORT.")],
        baud: Annotated[int, typer.Option(min=1, help="Bits a second.")] = 115200,
        raw: Annotated[bool, typer.Option("--raw", help="Write the bytes to standard output as they are.")] = False,
        log: Annotated[
            Path | None, typer.Option("-o", "--out", "--log", help="Write the bytes to this file too (no file).")
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace the file of --log, whatever it is.")] = False,
        seconds: Annotated[float | None, typer.Option(min=0.0, help="Stop after this time (at Ctrl-C).")] = None,
    ) -> None:
        """Show what a line carries: text as it is, frames in words; sends nothing."""
        decoder = Decoder()
        end = time.monotonic() + seconds if seconds is not None else float("inf")
        with ExitStack() as stack:
            if log and (log.is_file() or not log.exists()):
                check_output(log, begins_with(), force, "--log")
            try:
                file = stack.enter_context(log.open("wb")) if log else None
            except OSError as error:
                raise UsageError(f"cannot write {log}: {error.strerror}") from error
            for data in read_port(port, baud):
                if file:
                    file.write(data)
                    file.flush()
                if raw:
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
                else:
                    for item in decoder.feed(data):
                        typer.echo(shown_lines(describe(item)))
                if time.monotonic() >= end:
                    break
            if not raw:
                for item in decoder.flush():
                    typer.echo(shown_lines(describe(item)))
