# SPDX-License-Identifier: Apache-2.0
"""SentencePiece's tables of normalization: a double-array trie, as https://github.com/s-yata/darts-clone reads it."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from typing import Any

Node = dict[int, Any]
LEAF, HAS_LEAF = 1 << 31, 1 << 8


def charsmap(entries: Mapping[str, str]) -> bytes:
    """The table of texts and what they become."""
    texts, places = bytearray(), dict[str, int]()
    tree: Node = {}
    for key, value in entries.items():
        if value not in places:
            places[value] = len(texts)
            texts += value.encode() + b"\0"
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = places[value]
    units: dict[int, int] = {}
    taken: set[int] = {0}
    _place(tree, 0, 0, units, taken)
    trie = b"".join(units.get(i, 0).to_bytes(4, "little") for i in range(max(units) + 257))
    return len(trie).to_bytes(4, "little") + trie + bytes(texts)


def _place(node: Node, at: int, label: int, units: dict[int, int], taken: set[int]) -> None:
    # Most nodes have a leaf alone: behind what is taken already there is room at once.
    low = max(1, len(taken) - 256) if len(node) > 1 else len(taken)
    base = next(base for base in range(low, 1 << 20) if not any(base ^ byte in taken for byte in node))
    taken.update(base ^ byte for byte in node)
    units[at] = label | (at ^ base) << 10 | (HAS_LEAF if 0 in node else 0)
    for byte, below in node.items():
        if byte:
            _place(below, base ^ byte, byte, units, taken)
        else:
            units[base] = below | LEAF


@functools.cache
def compatible() -> bytes:
    """Compatibility forms, composed pairs and control characters, as nmt_nfkc has them, of some blocks."""
    entries: dict[str, str] = {}
    for code in (*range(1, 0x600), *range(0x1E00, 0x2200), *range(0x3000, 0x3400), *range(0xFF00, 0xFFF0)):
        character = chr(code)
        form, parts = unicodedata.normalize("NFKC", character), unicodedata.normalize("NFD", character)
        if form != character:
            entries[character] = form
        if len(parts) == 2 and unicodedata.normalize("NFC", parts) == character:
            entries[parts] = form
    entries |= {chr(code): "" for code in (*range(1, 9), 11, *range(14, 32), 127, 0x8F, 0x9F)}
    entries |= dict.fromkeys("\t\n\f\r\u1680\u200b\u200e\u200f\u2028\u2029\u2581\ufeff\ufffd", " ")
    return charsmap(entries)
