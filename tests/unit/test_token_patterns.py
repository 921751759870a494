# SPDX-License-Identifier: Apache-2.0
"""Patterns and tables of tokenizers that somebody made to keep the packer busy: each is refused at once."""

from __future__ import annotations

import base64
import struct

import pytest

from host.image.text.automaton import table
from host.image.text.builder import Builder
from host.image.text.charsets import single
from host.image.text.normalizers import precompiled
from host.image.text.pattern import Cat, One, Repeat, Unsupported, literal, parse


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(" * 33 + "a" + ")" * 33, "no automaton"),
        ("[" * 33 + "a" + "]" * 33, "no automaton"),
        ("(?:" * 1000 + "a" + ")" * 1000, "no automaton"),
        ("a" * 513, "too long"),
        ("[" + "a" * 4096 + "]", "too long"),
    ],
)
def test_patterns_are_bounded_in_depth_and_size(pattern: str, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        parse(pattern)


def test_the_deepest_and_longest_patterns_are_read() -> None:
    assert parse("(" * 32 + "a" + ")" * 32)
    assert parse("a" * 512)
    assert literal("a" * 512)
    with pytest.raises(Unsupported, match="too long"):
        literal("a" * 513)


def test_an_automaton_that_takes_too_much_work_is_refused() -> None:
    node, end = One(single("a")), One(single("b"))
    with pytest.raises(Unsupported, match="too many states"):
        table(Cat((Repeat(Repeat(node, 0, 64), 1, 64), end)), {})


def trie(units: list[int], texts: bytes) -> dict[str, str]:
    data = struct.pack(f"<{len(units) + 1}I", 4 * len(units), *units) + texts
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}


def test_a_trie_that_goes_round_in_circles_is_refused() -> None:
    circles = [256 << 10, *[0] * 255, 0, *(byte << 10 | byte for byte in range(1, 256))]
    with pytest.raises(Unsupported, match="damaged"):
        precompiled.add(Builder(), trie(circles, b""))


def test_texts_that_stand_for_much_more_than_they_take_are_refused() -> None:
    leaves = [256 << 10, *[0] * 255, 0, *(byte << 10 | 1 << 8 | byte for byte in range(1, 256))]
    with pytest.raises(Unsupported, match="damaged"):
        precompiled.add(Builder(), trie(leaves, b"x" * (1 << 20) + b"\0"))
