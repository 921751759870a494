# SPDX-License-Identifier: Apache-2.0
"""Kernel families as data: ``firmware/kernels/<family>/family.toml``, read for the build and for the host.

A folder of kernels with such a file is a family; one without is compiled into every firmware.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from host.errors import UsageError
from host.places import TREE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KERNELS = TREE / "firmware" / "kernels"
FAMILY_FILE = "family.toml"
ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
"""What some systems call a machine, and what Linux calls it."""


@dataclass(frozen=True)
class Family:
    """Kernels of one kind of processor; ``name`` is their folder's."""

    name: str
    words: str
    """What a processor has that runs them, for people."""
    layout: str
    """The order of weights that they are for."""
    rank: int
    """Where start-up chooses, the highest that the processor has is taken."""
    machines: list[str] = field(default_factory=list)
    """Those that have such processors, as Linux names them; all where empty."""
    features: list[str] = field(default_factory=list)
    """What they are compiled for beyond the program's own, as compilers name it; the processor is asked for each."""
    uses: list[str] = field(default_factory=list)
    """Families whose functions stand in where this one has none of its own."""


def read_family(path: Path) -> Family:
    """The family whose file this is. Raises UsageError for a faulty one."""
    try:
        table = tomllib.loads(path.read_text())
        family = Family(name=path.parent.name, **table)
    except (OSError, TypeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    for one in dataclasses.fields(Family):
        value = getattr(family, one.name)
        is_list = one.type == "list[str]"
        items = value if isinstance(value, list) else [value]
        if isinstance(value, list) != is_list or any(type(i) is not (int if one.type == "int" else str) for i in items):
            raise UsageError(f"{path}: {one.name} is {value!r}, which is no {one.type}")
    return family


@functools.cache
def families() -> Mapping[str, Family]:
    """All families by name, the lowest rank first."""
    found = [read_family(path) for path in KERNELS.glob(f"*/{FAMILY_FILE}")]
    return MappingProxyType({one.name: one for one in sorted(found, key=lambda one: (one.rank, one.name))})


def machine_name(name: str) -> str:
    """A machine by any system's name, as Linux names it."""
    return ALIASES.get(name.lower(), name)


def families_of(machine: str) -> list[Family]:
    """What a program for this machine chooses from at start-up, the best first."""
    return [one for one in reversed(list(families().values())) if not one.machines or machine in one.machines]
