# SPDX-License-Identifier: Apache-2.0
"""The ``host`` command: finds the commands in host/commands and turns errors into a message and an exit code.

Exit codes: 0 success, 1 an error of no other class, 2 wrong usage, 3 model source, 4 image, 5 does not fit,
6 target, 7 error reported by the device, 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import NoReturn

import typer

from host import __version__, commands
from host.errors import HostError
from host.terminal import printable

INTERRUPTED = 130


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"hartspeak {__version__}")
        raise typer.Exit


def create_app() -> typer.Typer:
    """Make the whole command line with every module of host/commands registered, in order of their names."""
    app = typer.Typer(
        name="host",
        help="Language models on RISC-V boards: pack, inspect, run and measure them.",
        epilog="Exit codes: 0 success, 1 other errors, 2 usage, 3 source, 4 image, 5 does not fit, 6 target, 7 device, "
        "130 Ctrl-C.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print it."),
    ) -> None:
        pass

    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda found: found.name):
        importlib.import_module(f"host.commands.{module.name}").register(app)
    return app


def main() -> NoReturn:
    """Run the command line and exit. A HostError becomes a message and its exit code; Ctrl-C becomes 130.

    An OSError that no command foresaw (a full disk, a read-only cache) becomes a message, too.
    """
    try:
        create_app()(prog_name="host")
    except HostError as error:
        typer.echo(f"error: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        typer.echo(f"error: {place}{error.strerror or error}; check free space and permissions there", err=True)
        sys.exit(HostError.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0)
