# SPDX-License-Identifier: Apache-2.0
"""Typed access to JSON and GGUF metadata that somebody else wrote: every value is checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from host.errors import SourceError
from host.foreign import MAX_JSON, open_regular, parse_json, read_bytes, words
from host.words import shown

INTEGER_LIMIT = 1 << 31
SMALLEST = 1e-30
"""The smallest number above zero that a model may ask for."""
REQUIRED = object()
LFS_POINTER = b"version https://git-lfs"


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: no surrogates, which stand for bytes or escapes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Fields:
    """A mapping of unchecked values with the name of the file that it came from, for messages."""

    values: Mapping[str, Any]
    where: str
    names: Mapping[str, str] = field(default_factory=dict)
    """What the file calls a key, where it has another name there."""
    read: set[str] = field(default_factory=set)
    """The keys that somebody asked for."""

    def name(self, key: str) -> str:
        """What the file calls a key."""
        return self.names.get(key, key)

    def renamed(self, keys: Mapping[str, str]) -> Fields:
        """The same fields; what stands under an old name alone has the new one that ``keys`` gives, too."""
        old = {key: name for key, name in keys.items() if self.any(key) is not None and name not in self.values}
        values = {**self.values, **{name: self.values[key] for key, name in old.items()}}
        return replace(self, values=values, names={**self.names, **{name: self.name(key) for key, name in old.items()}})

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.any(key) is not None

    def any(self, key: str) -> Any:
        """The value as it is, None where it is missing."""
        self.read.add(key)
        return self.values.get(key)

    def _get(self, key: str, default: Any) -> Any:
        value = self.any(key)
        if value is not None:
            return value
        if default is REQUIRED:
            raise SourceError(f"{self.where}: {self.name(key)} is missing; the file is incomplete or of another kind")
        return default

    def _bad(self, key: str, value: Any, want: str) -> SourceError:
        return SourceError(f"{self.where}: {self.name(key)} is {words(value)}, expected {want}; the file is damaged")

    def integer(self, key: str, default: Any = REQUIRED, low: int = 1, high: int = INTEGER_LIMIT - 1) -> int:
        """An integer in low..high. Raises SourceError when it is missing, no integer or out of range."""
        value = self._get(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._bad(key, value, f"an integer from {low} to {high}")
        return value

    def number(self, key: str, default: Any = REQUIRED, positive: bool = True) -> float:
        """A finite number, ``SMALLEST`` or more when ``positive``. Raises SourceError otherwise."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
            raise self._bad(key, value, "a number")
        if math.isnan(value) or (positive and value <= 0):
            raise self._bad(key, value, "a number above zero")
        if positive and value < SMALLEST:
            raise self._bad(key, value, f"a number of {SMALLEST:g} or more")
        return float(value)

    def flag(self, key: str, default: Any = REQUIRED) -> bool:
        """True or false. Raises SourceError otherwise."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._bad(key, value, "true or false")
        return value

    def text(self, key: str, default: Any = REQUIRED) -> str:
        """A string that is Unicode text. Raises SourceError otherwise."""
        value = self._get(key, default)
        if not isinstance(value, str) or not is_unicode(value):
            raise self._bad(key, value, "a text in UTF-8")
        return value

    def choice(self, key: str, options: tuple[str, ...], default: Any = REQUIRED) -> str:
        """One of the given strings. Raises SourceError that lists them otherwise."""
        value = self.text(key, default)
        if value not in options:
            listed = ", ".join(options)
            raise SourceError(f"{self.where}: {self.name(key)} {words(value)} is not supported, only {listed}")
        return value


def read_text(path: Path, limit: int) -> str:
    """The text of a file of at most ``limit`` bytes. Raises SourceError when it is larger, unreadable or not UTF-8."""
    data = read_bytes(path, limit)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{shown(path.name)} is not UTF-8 text: {error.reason}; the file is damaged") from error


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """A JSON object from a file. Raises SourceError when it is missing, too large, damaged or no object."""
    data = read_bytes(path, limit)
    try:
        value = parse_json(data, limit)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{shown(path.name)} is not valid JSON: {shown(str(error))}; copy or download it again"
        ) from error
    if not isinstance(value, dict):
        raise SourceError(f"{shown(path.name)} holds a JSON {type(value).__name__}, expected an object")
    return value


def refuse_pointer(path: Path) -> None:
    """Raises SourceError for what a repository cloned without Git LFS has in place of its weights: lines of text."""
    with open_regular(path) as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise SourceError(
            f"{shown(path.name)} is a Git LFS pointer, not the weights; run git lfs pull, or download the file"
        )
