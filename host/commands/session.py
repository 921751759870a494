# SPDX-License-Identifier: Apache-2.0
"""``host session``: save the state of a session on a device to a file, or restore it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from host.command_line.options import BaudOption, LogOption, PatienceOption, QuietOption, TargetOption, open_options
from host.errors import UsageError
from host.output import begins_with, check_output, replacing
from host.terminal import Notices

SessionOption = Annotated[int, typer.Option("-s", "--session", min=0, help="Session number.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add ``host session save`` and ``host session restore``."""
    commands = typer.Typer(help="Save the state of a session on a device to a file, or restore it.")
    app.add_typer(commands, name="session")

    @commands.command()
    def save(
        file: Path,
        target: TargetOption,
        session: SessionOption = 0,
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
        baud: BaudOption = None,
        force: Annotated[bool, typer.Option("--force", help="Replace a file that is no session.")] = False,
        json_: JsonOption = False,
    ) -> None:
        """Write a session's tokens and keys and values to FILE; interrupted, it goes on when it is called again."""
        from host.link.transfer import SESSION_MAGIC, save_session
        from host.talk.opening import open_device

        notices = Notices(quiet or json_)
        check_output(file, begins_with(SESSION_MAGIC), force, "FILE")
        partial = file.with_name(f".{file.name}.part")  # stays after an interruption, for the next try
        check_output(partial, flag="FILE")
        with open_device(target, open_options(notices, log, patience, baud)) as client:
            client.require_model()
            saved = save_session(client, session, partial, notices.transfer)
        notices.clear()
        _write(file, saved.encode())
        partial.unlink(missing_ok=True)
        if json_:
            typer.echo(json.dumps({"file": str(file), "positions": saved.length, "bytes": len(saved.contents)}))
            return
        typer.echo(f"{saved.length} positions, {len(saved.contents)} bytes", err=True)

    @commands.command()
    def restore(
        file: Annotated[Path, typer.Argument(help="What host session save has written.")],
        target: TargetOption,
        session: SessionOption = 0,
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
        baud: BaudOption = None,
        json_: JsonOption = False,
    ) -> None:
        """Give a session the state that was saved in FILE."""
        from host.link.transfer import SavedSession, restore_session
        from host.talk.opening import open_device

        notices = Notices(quiet or json_)
        saved = SavedSession.decode(_read(file), str(file))
        with open_device(target, open_options(notices, log, patience, baud)) as client:
            client.require_model()
            restore_session(client, saved, session, notices.transfer)
            notices.clear()
            if json_:
                typer.echo(json.dumps({"session": session, "tokens": client.length(session)}))
                return
            typer.echo(f"session {session} has {client.length(session)} tokens", err=True)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def _write(file: Path, data: bytes) -> None:
    try:
        with replacing(file) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
