# SPDX-License-Identifier: Apache-2.0
"""The weight formats: one file each in this folder, and nothing else names them all.

A file ``name.py`` holds the format as ``NAME``. docs/adding-a-format.md says what it has to declare.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host.schema.weights import WeightFormat


def format_names() -> list[str]:
    """The names of all formats, sorted. Loads none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@functools.cache
def formats() -> Mapping[str, WeightFormat]:
    """All formats by name, in the order of their ids. Raises ValueError where two have one id."""
    found: dict[int, WeightFormat] = {}
    for name in format_names():
        module = importlib.import_module(f"{__name__}.{name}")
        one: WeightFormat = getattr(module, name.upper())
        if one.name != name or found.setdefault(one.id, one) is not one:
            raise ValueError(f"{module.__file__}: the format {one.name} of id {one.id} has another's name or id")
    return {found[number].name: found[number] for number in sorted(found)}


def format_of(number: int) -> WeightFormat:
    """The format with this id. Raises KeyError for one that nobody knows."""
    return {one.id: one for one in formats().values()}[number]


def format_for_blocks(kind: str) -> WeightFormat | None:
    """The format that takes over GGML blocks of this type as they are."""
    return next((one for one in formats().values() if one.twin is not None and one.twin.kind == kind), None)
