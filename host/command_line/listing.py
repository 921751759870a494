# SPDX-License-Identifier: Apache-2.0
"""The commands that there are, and what ``host --help`` prints of them. No command is imported, and not even typer."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

TITLE = "Language models on RISC-V boards: pack, inspect, run and measure them."
CODES = (
    "Exit codes: 0 success, 1 other errors, 2 usage, 3 source, 4 image, 5 does not fit, 6 target, 7 device,\n"
    "130 Ctrl-C, 141 what reads the output has gone."
)
OPTIONS = (
    ("--version", "Print it."),
    ("--install-completion", "Install completion for the shell that runs."),
    ("--show-completion", "Print that completion's script."),
    ("-h, --help", "Show this message; host COMMAND --help shows a command's."),
)
LINE = re.compile(r"^``host ([a-z-]+)``: (.+?)\.?$", re.MULTILINE)
"""A command's line in its module's docstring."""


class CommandLine(NamedTuple):
    """Where a command is, and its line in ``host --help``."""

    module: str
    help: str


def command_lines() -> dict[str, CommandLine]:
    """All commands by name, sorted, read from the modules' docstrings: nothing is imported, not even pathlib."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/commands"  # noqa: PTH100, PTH120
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


def root_help() -> str:
    """What ``host --help`` prints."""
    rows = [(name, line.help) for name, line in command_lines().items()]
    width = max(len(name) for name, _ in (*rows, *OPTIONS)) + 2
    listed = {title: [f"  {name:<{width}}{text}" for name, text in part] for title, part in _parts(rows)}
    lines = ["Usage: host [OPTIONS] COMMAND [ARGS]...", "", f"  {TITLE}"]
    for title, part in listed.items():
        lines += ["", f"{title}:", *part]
    return "\n".join([*lines, "", CODES])


def _parts(rows: list[tuple[str, str]]) -> tuple[tuple[str, list[tuple[str, str]]], ...]:
    return ("Commands", rows), ("Options", list(OPTIONS))
