# SPDX-License-Identifier: Apache-2.0
"""The ``host`` command in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from host import cli

HostCommand = Callable[..., tuple[int, str, str]]
"""Words of a command line, and ``typed`` at its stdin: exit code, stdout, stderr."""


def command(*words: object) -> list[str]:
    """A command line of ``host`` for a process of its own."""
    return [sys.executable, "-m", "host", *map(str, words)]


def host_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> HostCommand:
    """A function that runs commands, none of which may end in a traceback."""

    def run(*words: object, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["host", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(ended.value.code or 0), out, err

    return run
