# SPDX-License-Identifier: Apache-2.0
"""Lines that somebody types, with editing and history on a terminal, and what Ctrl-C does between them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from host.cache import private_folder
from host.errors import HostError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

PRESSES = 2
"""Of Ctrl-C at an empty prompt, that leave."""
LEAVING = "Ctrl-C once more leaves; so does Ctrl-D"
ReadLine = Callable[[], str | None]
"""The next line, or None at the end."""


def pipe_reader() -> str | None:
    """Read the next line of standard input."""
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


def history_file() -> Path:
    """Where the lines typed in chats are kept: readable by this user only. OSError, TargetError where none can be."""
    from host.files.recipe import cache_folder

    folder = private_folder(cache_folder() / "chat")
    path = folder / "history"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)
    return path


def terminal_reader(status: Callable[[], str]) -> ReadLine:
    """Line editing with history kept for this user, and the status below the line.

    Ctrl-C drops the line; at an empty one it first says that the next one leaves.
    """
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory

    history: History
    try:
        history = FileHistory(str(history_file()))
    except (OSError, HostError):
        history = InMemoryHistory()
    session: PromptSession[str] = PromptSession(history=history)
    return Typist(session, status).read


class Typist:
    """Somebody who types lines, and Ctrl-C.

    While a line is edited Ctrl-C is a key. Before and after it is a signal, which must not cut the editor's own work
    in two: it is counted, and weighed when the editor has started.
    """

    def __init__(self, session: PromptSession[str], status: Callable[[], str]) -> None:
        self._session = session
        self._status = status
        self._presses = 0
        """Of Ctrl-C at this empty prompt."""

    def read(self) -> str | None:
        """The next line; None after Ctrl-D, or Ctrl-C twice."""
        self._presses = 0
        before = signal.signal(signal.SIGINT, self._on_signal)
        try:
            while True:
                try:
                    return self._session.prompt(
                        "> ", bottom_toolbar=self._status, handle_sigint=False, pre_run=self._leave_if_pressed
                    )
                except EOFError:
                    return None
                except KeyboardInterrupt:
                    if not self._session.default_buffer.text and self._pressed():
                        return None
        finally:
            signal.signal(signal.SIGINT, before)

    def _pressed(self) -> bool:
        """Whether this Ctrl-C leaves; the first one says that the next one does."""
        self._presses += 1
        if self._presses < PRESSES:
            typer.echo(LEAVING, err=True)
        return self._presses >= PRESSES

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._presses += 1
        app = self._session.app
        if app.is_running and app.loop:
            app.loop.call_soon_threadsafe(self._leave_if_pressed)

    def _leave_if_pressed(self) -> None:
        app = self._session.app
        if self._presses >= PRESSES and app.is_running and not app.is_done:
            app.exit(exception=KeyboardInterrupt)
