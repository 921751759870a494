# SPDX-License-Identifier: Apache-2.0
"""The ``host`` command: finds the commands in host/commands and turns errors into a message and an exit code.

Exit codes: 0 success, 1 an error of no other class, 2 wrong usage, 3 model source, 4 image, 5 does not fit,
6 target, 7 error reported by the device, 130 Ctrl-C, 141 what reads the output has gone (silent).

A command's module is imported when the command is called. Its one line of help is read from the module's docstring, so
that ``host --help`` and ``host --version`` import nothing but this.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from host import __version__, streams
from host.command_line.listing import TITLE, root_help

if TYPE_CHECKING:
    import typer

COMPLETE = "_HOST_COMPLETE"
"""Set by a shell that asks for completion."""


def create_app() -> typer.Typer:
    """Make the whole command line; the modules of host/commands are imported when their command is called."""
    import typer

    from host.command_group import CommandGroup

    def print_version(value: bool) -> None:
        if value:
            typer.echo(f"hartspeak {__version__}")
            raise typer.Exit

    app = typer.Typer(
        name="host",
        cls=CommandGroup,
        help=TITLE,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", callback=print_version, is_eager=True, help="Print it."),
    ) -> None:
        pass

    return app


def main() -> NoReturn:
    """Run the command line and exit. A HostError becomes a message and its exit code; Ctrl-C becomes 130.

    An OSError that no command foresaw (a full disk, a read-only cache) becomes a message, too.
    """
    streams.prepare()
    try:
        code = _run(sys.argv[1:])
        _take_back()
    except OSError as error:
        code = _unforeseen(error)
    failed = streams.finish()
    if failed is not None and not code:
        code = _unforeseen(failed)
    sys.exit(code)


def _run(words: list[str]) -> int:
    """The exit code of the command line ``words``. OSError: what nobody has foreseen."""
    if COMPLETE not in os.environ and words in (["--version"], ["--help"], ["-h"]):
        print(f"hartspeak {__version__}" if words == ["--version"] else root_help())
        return 0
    from host.command_group import PipeError
    from host.errors import HostError, UsageError

    try:
        create_app()(prog_name="host")
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # rich has seen it, and silenced the output
            return streams.READER_GONE
        return left.code if isinstance(left.code, int) else 0
    except HostError as error:
        return _say(str(error), error.exit_code)
    except PipeError as error:
        raise error.error from None
    except UnicodeDecodeError as error:
        return _say(f"what was read is not {error.encoding} text (byte {error.start})", UsageError.exit_code)
    except KeyboardInterrupt:
        return 130
    return 0


def _unforeseen(error: OSError) -> int:
    """Exit code and words of an OSError; none where only the reader of the output has gone."""
    if isinstance(error, BrokenPipeError):
        if any(map(streams.reader_gone, (sys.stdout, sys.stderr))):
            return streams.READER_GONE
        return _say(f"{error.strerror}: a program that was talked to has gone", 1)
    place = f"{error.filename}: " if error.filename else ""
    return _say(f"{place}{error.strerror or error}; check free space and permissions there", 1)


def _take_back() -> None:
    """Take the progress that a command has left from the terminal. What no command has imported has shown nothing."""
    if "host.terminal" in sys.modules:
        from host.terminal import take_back

        take_back()


def _say(words: str, code: int) -> int:
    """Print an error; returns its exit code."""
    from host.words import shown_lines

    try:
        _take_back()
        print(f"error: {shown_lines(words)}", file=sys.stderr, flush=True)
    except OSError:
        streams.finish()
    return code
