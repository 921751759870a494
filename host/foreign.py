# SPDX-License-Identifier: Apache-2.0
"""What others wrote, read with bounds: no file that never ends or never answers, no JSON that takes all memory."""

from __future__ import annotations

import json
import os
import re
import reprlib
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from host.errors import HostError, SourceError
from host.words import shown

MAX_JSON = 16 << 20
MAX_DEPTH = 64
"""Levels of lists and objects; what models have goes to ten."""
MAX_DIGITS = 40
MAX_PARTS = 1 << 23
"""Commas, colons and brackets: each may become an object of 100 bytes. Known tokenizers have 3 M."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def open_regular(path: Path, failure: type[HostError] = SourceError, what: str = "") -> BinaryIO:
    """A regular file, or a link to one, opened for reading. A FIFO is not waited for, a device not read.

    Raises ``failure`` where it is something else or cannot be read; ``what`` stands before its name then.
    """
    name = f"{what} {shown(str(path))}".strip()
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise failure(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a directory; name a file in it" if stat.S_ISDIR(mode) else "no regular file but a FIFO or a device"
        raise failure(f"cannot read {name}: it is {kind}")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, limit: int, failure: type[HostError] = SourceError) -> bytes:
    """A file of at most ``limit`` bytes. Raises ``failure`` when it is larger, no file, or cannot be read."""
    with open_regular(path, failure) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise failure(f"cannot read {shown(str(path))}: {error.strerror or error}") from error
    if len(data) > limit:
        raise failure(f"{shown(path.name)} has more than the {limit} bytes allowed; this is not that file")
    return data


def _depth(text: str) -> int:
    """The deepest level of lists and objects, found without parsing: brackets outside of texts."""
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    marks = np.frombuffer("".join(outside).encode("utf-8", "replace"), np.uint8)
    steps = ((marks == ord("[")) | (marks == ord("{"))).astype(np.int8)
    steps -= (marks == ord("]")) | (marks == ord("}"))
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen and seen[key] != value:
                raise ValueError(f"{shown(key, 80)!r} stands there twice, and which of the two counts would be chance")
            seen[key] = value
    return made


def parse_json(data: bytes | str, limit: int = MAX_JSON) -> Any:
    """A JSON value of at most ``limit`` bytes, ``MAX_DEPTH`` levels and numbers of ``MAX_DIGITS`` digits.

    No key may stand in an object twice with another value, and texts are Unicode. Raises ValueError that says what is
    wrong.
    """
    if len(data) > limit:
        raise ValueError(f"it has {len(data)} bytes, more than the {limit} allowed")
    text = data if isinstance(data, str) else data.decode("utf-8")
    if sum(map(text.count, ",:[{")) > MAX_PARTS:
        raise ValueError(f"it has more than {MAX_PARTS} parts")
    if (depth := _depth(text)) > MAX_DEPTH:
        raise ValueError(f"lists and objects lie in each other {depth} deep, at most {MAX_DEPTH} are allowed")
    value = json.loads(text, parse_int=_integer, object_pairs_hook=_object)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # half a pair would end in a traceback later
    return value


def words(value: Any, limit: int = 80) -> str:
    """A foreign value in a message: quoted, one line, short, whatever it is and however deep."""
    text = value[: limit + 1] if isinstance(value, str) else reprlib.repr(value)
    return shown(repr(text), limit)
