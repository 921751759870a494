# SPDX-License-Identifier: Apache-2.0
"""Sets of characters as the host's tokenizer library has them, one bool a code point."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from host.tokens.sandbox import SANDBOX

CODES = 0x110000
Set = npt.NDArray[np.bool_]
"""bool [CODES]."""


@functools.cache
def _asked(name: str, values: str) -> Any:
    return SANDBOX.request("table", name=name, values=json.loads(values))


def ask(name: str, *values: Any) -> Any:
    """A table of host/tokens/sandbox_tables.py, asked for once. Raises SandboxError where the library refuses it."""
    return _asked(name, json.dumps(values))


def as_set(ranges: Iterable[Iterable[int]]) -> Set:
    """[first, last] of each range."""
    found = np.zeros(CODES, np.bool_)
    for first, last in ranges:
        found[first : last + 1] = True
    return found


@functools.cache
def matching(pattern: str) -> Set:
    """The characters that a regular expression of the library matches."""
    return as_set(ask("matching", pattern))


@functools.cache
def cutting(name: str) -> Set:
    """The characters that a pre-tokenizer of the library cuts out: Digits, Punctuation, WhitespaceSplit."""
    return as_set(ask("cutting", name))


def spaces() -> Set:
    """What is white space to everything but regular expressions."""
    return cutting("WhitespaceSplit")


def single(character: str) -> Set:
    """One character."""
    return as_set([(ord(character), ord(character))])
