# SPDX-License-Identifier: Apache-2.0
"""SentencePiece's own table, a double-array trie of texts and what they become.

As https://github.com/huggingface/spm_precompiled reads it: clusters of less than six bytes as a whole, by the shortest
beginning that the trie has. So of texts of which one begins another, the longer one is never found.
"""

from __future__ import annotations

import base64
import binascii
import functools
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from host.image.text.automaton import classes_table
from host.image.text.builder import Builder
from host.image.text.charsets import CODES, ask
from host.image.text.pattern import Unsupported
from host.schema.tokens import StepKind

TYPES = ("Precompiled",)
CLUSTER_BYTES = 6
MAX_VISITS, MAX_BYTES = 1 << 19, 1 << 24
"""Of a trie's units, some of them many times, and of all that its keys become."""
CLASSES = ("other", "control", "cr", "lf", "extend", "joiner", "prepend", "picture")
"""The first of firmware/tokenizer/step_clusters.c; Hangul's five follow."""
FIRST, VOWEL, LAST, OPEN, CLOSED = range(8, 13)


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """Classes, keys and values."""
    if builder.marked:
        raise Unsupported("its normalizer Precompiled comes behind U+2581")
    try:
        found = _entries(base64.b64decode(spec["precompiled_charsmap"], validate=True))
    except (binascii.Error, struct.error, IndexError, ValueError) as error:
        raise Unsupported("its table of normalization is damaged") from error
    keys, values = sorted(found), [found[key] for key in sorted(found)]
    classes = _classes()
    offsets, bytes_ = [], bytearray()
    for texts in (keys, values):
        for text in texts:
            offsets.append(len(bytes_))
            bytes_ += text
        offsets.append(len(bytes_))
    table = struct.pack("<I", len(classes)) + classes + struct.pack("<I", len(keys))
    table += np.array(offsets, "<u4").tobytes() + bytes_ + bytes(-len(bytes_) % 4)
    builder.step(StepKind.CLUSTERS, table=table)


def _entries(data: bytes) -> dict[bytes, bytes]:
    """What the trie has, of texts that are short enough to be found."""
    (size,) = struct.unpack_from("<I", data)
    units = np.frombuffer(data, "<u4", size // 4, 4)
    texts = data[4 + size :]
    found: dict[bytes, bytes] = {}
    waiting, visits, written = [(b"", _offset(int(units[0])))], 0, 0
    while waiting:
        text, node = waiting.pop()
        places = node ^ np.arange(1, 256)
        places = places[places < len(units)]
        for place in places[units[places] & 0x800000FF == places ^ node].tolist():
            unit = int(units[place])
            following, key = place ^ _offset(unit), text + bytes([place ^ node])
            if unit >> 8 & 1:
                start = int(units[following]) & 0x7FFFFFFF
                found[key] = texts[start : texts.index(b"\0", start)]
                written += len(found[key])
            elif len(key) < CLUSTER_BYTES - 1:
                waiting.append((key, following))
            visits += 1
            if visits > MAX_VISITS or written > MAX_BYTES:
                raise ValueError("the trie has no end")
    return found


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


@functools.cache
def _classes() -> bytes:
    """The characters' classes."""
    found = ask("clusters")
    members = np.zeros(CODES, np.uint8)
    for name in ("picture", "prepend", "control", "extend"):
        for first, last in found[name]:
            members[first : last + 1] = CLASSES.index(name)
    for code, name in ((0x0D, "cr"), (0x0A, "lf"), (0x200D, "joiner")):
        members[code] = CLASSES.index(name)
    for first, last, number in (
        (0x1100, 0x115F, FIRST),
        (0xA960, 0xA97C, FIRST),
        (0x1160, 0x11A7, VOWEL),
        (0xD7B0, 0xD7C6, VOWEL),
        (0x11A8, 0x11FF, LAST),
        (0xD7CB, 0xD7FB, LAST),
        (0xAC00, 0xD7A3, CLOSED),
    ):
        members[first : last + 1] = number
    members[0xAC00:0xD7A4:28] = OPEN
    return classes_table(members, CLOSED + 1)
