# SPDX-License-Identifier: Apache-2.0
"""The group of all commands: a command's module is imported when the command is called, and not for a list of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import typer
import typer.core
import typer.main

from host.command_line.listing import command_lines, root_help
from host.errors import UsageError


class Commands(MutableMapping[str, Any]):
    """Name to command. What is looked up is imported; the rest is not."""

    def __init__(self) -> None:
        self._lines = command_lines()
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded |= load_module(self._lines[name].module)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._lines[name]
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def load_module(module: str) -> dict[str, Any]:
    """The commands that a module of host/commands registers, by name."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.callback()(lambda: None)  # with it, one command is a group of one
    importlib.import_module(f"host.commands.{module}").register(app)
    group = typer.main.get_command(app)
    return dict(group.commands)  # type: ignore[attr-defined]


@contextmanager
def _errors_of_ours() -> Iterator[None]:
    """What typer would end in its own words and with code 1: input that ends at a question, Ctrl-C there."""
    try:
        yield
    except typer.Abort as error:
        if isinstance(error.__context__, EOFError):
            raise UsageError("the input ended before the question was answered; answer it, or see --help") from None
        raise KeyboardInterrupt from None
    except BrokenPipeError as error:
        raise PipeError(error) from error


class PipeError(Exception):
    """Carries a BrokenPipeError past typer, which would end the program with code 1."""

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(str(error))
        self.error = error


class CommandGroup(typer.core.TyperGroup):
    """``host`` itself."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: MutableMapping[str, Any] = Commands()

    def make_context(self, *args: Any, **more: Any) -> Any:
        """As the library does it."""
        with _errors_of_ours():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """As the library does it."""
        with _errors_of_ours():
            return super().invoke(ctx)

    def get_help(self, ctx: Any) -> str:  # noqa: ARG002
        """The list of commands, for which none is imported."""
        return root_help()

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Commands and options that begin so; no command is imported."""
        commands = self.commands
        names = ((name, typer.core.TyperCommand(name, help=line.help)) for name, line in command_lines().items())
        self.commands = dict(names)
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self.commands = commands
