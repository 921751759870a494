# SPDX-License-Identifier: Apache-2.0
"""What a person sets on SCons' command line, name=value.

SCons' own Variables evaluate ``${...}`` in every value, which is Python: a file's name would be a program. So values
are taken as they were typed, and reach SCons as nodes, literals or not at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SCons.Subst import Literal

from host.choices import choices
from host.errors import UsageError
from host.words import shown

NOT_IN_PATHS = '\\"'
YES = ("1", "yes", "true", "on", "y", "t", "all")
NO = ("0", "no", "false", "off", "n", "f", "none", "")


@dataclass(frozen=True)
class Setting:
    """One name=value with its help."""

    name: str
    help: str
    default: str = ""


def read_settings(settings: tuple[Setting, ...], given: Mapping[str, Any]) -> dict[str, str]:
    """The value of each setting, as typed. Raises UsageError for an unknown name."""
    known = [setting.name for setting in settings]
    for name in sorted(set(given) - set(known)):
        raise UsageError(f"unknown option {shown(name)}; {choices(name, known)} (scons -h explains them)")
    return {setting.name: str(given.get(setting.name, setting.default)) for setting in settings}


def read_switch(name: str, value: str) -> bool:
    """A yes or no. Raises UsageError."""
    if value.lower() not in (*YES, *NO):
        raise UsageError(f"{name}={shown(value)} is neither yes nor no")
    return value.lower() in YES


def help_lines(settings: tuple[Setting, ...]) -> str:
    """What `scons -h` says of them."""
    lines = []
    for setting in settings:
        default = f" [{setting.default}]" if setting.default else ""
        lines.append(f"  {setting.name}=  {setting.help}{default}")
    return "\n".join(lines) + "\n"


def check_path(name: str, path: Path | str, without: str = "") -> None:
    """Raise UsageError for a folder in which nothing can be built, as SCons or the compiler fail on a character in it.

    SCons ends a command at a line break and keeps ``$(`` for itself; zig cannot read a backslash or a quotation mark
    in the list of headers that it made. ``without``: more characters that are no use.
    """
    text = str(path)
    found = [mark for mark in ("$(", "$)", *NOT_IN_PATHS, *without) if mark in text]
    found += [repr(c) for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    if found:
        raise UsageError(f"{name} {shown(text)} has {found[0]} in its name, with which nothing can be built; rename it")


def literal(path: Path | str) -> str:
    """A path for what SCons makes a node of: ``$`` and a leading ``#`` mean themselves."""
    text = str(path)
    return ("./" + text if text.startswith("#") else text).replace("$", "$$")


def word(text: str) -> Literal:
    """A word of a command, whatever is in it."""
    return Literal(text)
