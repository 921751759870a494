# SPDX-License-Identifier: Apache-2.0
"""Kinds of numbers in an op's record: a u32 that names a tensor or a state, or is one of an enum.

Each is a u32 as construct reads it; the kind says what the number means, so that every reader knows without a list.
"""

from __future__ import annotations

import enum
from typing import Any

from construct import FormatField, Renamed, Struct

TENSOR = FormatField("<", "L")
"""Index of a tensor, or NO_TENSOR."""
STATE = FormatField("<", "L")
"""Index of a state."""


def choice(kind: type[enum.IntEnum]) -> Any:
    """One of an enum's numbers."""
    field = FormatField("<", "L")
    field.kind = kind
    return field


def kinds(struct: Struct) -> dict[str, Any]:
    """The construct of each named field, by name, without construct's wrapping."""
    found: dict[str, Any] = {}
    for each in struct.subcons:
        inner = each
        while isinstance(inner, Renamed):
            inner = inner.subcon
        if each.name:
            found[each.name] = inner
    return found
