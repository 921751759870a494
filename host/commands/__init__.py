# SPDX-License-Identifier: Apache-2.0
"""One module a command, each with ``register(app)``; host/cli.py finds them here. They parse, call and print.

The docstring of a module has a line ````host NAME``: what it does`` for each of its commands.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

LINE = re.compile(r"^``host ([a-z-]+)``: (.+?)\.?$", re.MULTILINE)
"""A command's line in its module's docstring."""


class CommandLine(NamedTuple):
    """Where a command is, and its line in ``host --help``."""

    module: str
    help: str


def command_lines() -> dict[str, CommandLine]:
    """All commands by name, sorted, read from the modules' docstrings: nothing is imported, not even pathlib."""
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    found: dict[str, CommandLine] = {}
    for file in os.listdir(folder):  # noqa: PTH208
        module, dot, kind = file.rpartition(".")
        if module.startswith("_") or (dot, kind) != (".", "py"):
            continue
        with open(f"{folder}/{file}", encoding="utf-8") as stream:  # noqa: PTH123
            docstring = stream.read(4096).split('"""')[1:2]
        for name, words in LINE.findall("".join(docstring)):
            found[name] = CommandLine(module, f"{words[:1].upper()}{words[1:]}.")
    return dict(sorted(found.items()))
