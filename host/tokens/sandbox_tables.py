# SPDX-License-Identifier: Apache-2.0
"""What the library ``tokenizers`` does to single characters, asked of itself: its Unicode version is its own.

It runs in the child process (sandbox_worker.py loads it there), so nothing of this product may be imported here. Sets
of characters are lists of [first, last] in code points; no character beyond the planes that are asked has a class.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

RANGES = ((0, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE1000), (0x50000, 0x50001), (0xF0000, 0xF0001))
"""What is asked: without surrogates, and one character each of what is not assigned and of private planes."""
STAND_FOR = {
    0x50000: ((0x40000, 0xDFFFF), (0xE1000, 0xEFFFF), (0xFFFFE, 0xFFFFF), (0x10FFFE, 0x10FFFF)),
    0xF0000: ((0xF0000, 0xFFFFD), (0x100000, 0x10FFFD)),
}
"""What these characters stand for."""
LETTERS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x20000, 0x3FFFF))
MARK = "\u4dc0"
"""A sign that no normalization changes, joins with others or takes for white space."""
COMPOSING = "\u0301\u0302"
"""Two marks that extend a cluster."""


@functools.cache
def characters() -> tuple[str, ...]:
    """Every character that is asked for."""
    return tuple(chr(code) for first, end in RANGES for code in range(first, end))


def marks_among() -> list[str]:
    """Characters without those of blocks that hold nothing but letters, and may never hold another thing."""
    return [
        each for each in characters() if each != MARK and not any(first <= ord(each) <= last for first, last in LETTERS)
    ]


def ranges(chosen: Iterable[str]) -> list[list[int]]:
    """Characters as [first, last], ascending."""
    found: list[list[int]] = []
    for first, last in sorted(each for code in map(ord, chosen) for each in STAND_FOR.get(code, ((code, code),))):
        if found and found[-1][1] == first - 1:
            found[-1][1] = last
        else:
            found.append([first, last])
    return found


def matching(pattern: str) -> list[list[int]]:
    """The characters that a regular expression matches."""
    text = "".join(characters())
    marks = bytearray(b"\1" * len(text))
    for _, (start, end) in pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed").pre_tokenize_str(text):
        marks[start:end] = bytes(end - start)
    return ranges(text[at] for found in re.finditer(b"\1+", marks) for at in range(*found.span()))


def cutting(name: str) -> list[list[int]]:
    """The characters that a pre-tokenizer cuts out of a row of letters: Digits, Punctuation, WhitespaceSplit."""
    text = "a" + "a".join(characters()) + "a"
    cutter = pre_tokenizers.Digits(individual_digits=True) if name == "Digits" else getattr(pre_tokenizers, name)()
    starts = {start for _, (start, _) in cutter.pre_tokenize_str(text)}
    return ranges(text[at] for at in range(1, len(text), 2) if at + 1 in starts)


def _normalizer(spec: Any) -> Callable[[str], str]:
    facts = {"version": "1.0", "added_tokens": [], "normalizer": spec, "pre_tokenizer": None, "post_processor": None}
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    library = Tokenizer.from_str(json.dumps(facts | {"decoder": None, "model": model}))
    return library.normalizer.normalize_str  # type: ignore[no-any-return]


def mapped(spec: Any) -> list[list[Any]]:
    """[first, last, text] of the characters that a normalizer changes; code 0 in a text stands for the character.

    The normalizer looks at each character by itself.
    """
    normalize, asked = _normalizer(spec), [each for each in characters() if each != MARK]
    parts = normalize(MARK.join(asked)).split(MARK)
    if len(parts) != len(asked):
        parts = [normalize(each) for each in asked]
    changed = sorted(
        (*range_, text.replace(each, "\0") if each != "\0" else text)
        for each, text in zip(asked, parts, strict=True)
        if text != each
        for range_ in STAND_FOR.get(ord(each), ((ord(each), ord(each)),))
    )
    found: list[list[Any]] = []
    for first, last, text in changed:
        if found and found[-1][1] == first - 1 and found[-1][2] == text:
            found[-1][1] = last
        else:
            found.append([first, last, text])
    return found


def normalized(spec: Any, texts: list[str]) -> list[str]:
    """Each text by a normalizer."""
    normalize = _normalizer(spec)
    return [normalize(text) for text in texts]


def combining() -> list[list[int]]:
    """[code, class] of the characters that canonical order moves: whole numbers that order them, 0 left out."""
    normalize = _normalizer({"type": "NFD"})
    low, high = "\u0334", "\u0345"  # of the lowest and the highest class
    asked = marks_among()
    marks = [
        each
        for each, first, second in zip(
            asked, _moves(normalize, asked, low), _moves(normalize, asked, high), strict=True
        )
        if first or second
    ]
    marks = [each for each in dict.fromkeys([*marks, low, high]) if normalize(each) == each]
    order: list[list[str]] = []
    for each in marks:
        _place(order, each, lambda a, b: normalize(a + b) != a + b)
    return sorted([ord(each), number] for number, group in enumerate(order, 1) for each in group)


def _moves(normalize: Callable[[str], str], asked: list[str], other: str) -> list[bool]:
    """Whether canonical order moves a character and another one past each other."""
    behind = normalize(MARK.join(f"a{each}{other}" for each in asked)).split(MARK)
    before = normalize(MARK.join(f"a{other}{each}" for each in asked)).split(MARK)
    return [
        (f"a{each}{other}" != one and one.startswith(f"a{other}")) or (f"a{other}{each}" != two and two.endswith(other))
        for each, one, two in zip(asked, behind, before, strict=True)
    ]


def _place(order: list[list[str]], mark: str, swaps: Callable[[str, str], bool]) -> None:
    """Put a mark into its class; ``swaps``: whether the first of two has the greater class."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if swaps(mark, order[middle][0]):
            low = middle + 1
        elif swaps(order[middle][0], mark):
            high = middle
        else:
            order[middle].append(mark)
            return
    order.insert(low, [mark])


def parts(compatible: bool) -> list[list[Any]]:
    """[code, text] of the characters that NFD, or NFKD, takes apart, without Hangul syllables."""
    normalize = _normalizer({"type": "NFKD" if compatible else "NFD"})
    asked = [each for each in characters() if each != MARK and not 0xAC00 <= ord(each) < 0xD7A4]
    texts = normalize(MARK.join(asked)).split(MARK)
    return [[ord(each), text] for each, text in zip(asked, texts, strict=True) if text != each]


def pairs() -> list[list[int]]:
    """[first, second, composed] of the pairs that NFC composes, without Hangul."""
    compose = _normalizer({"type": "NFC"})
    found = []
    for code, text in parts(False):
        first = compose(text[:-1])
        if len(text) > 1 and len(first) == 1 and compose(text) == chr(code):
            found.append([ord(first), ord(text[-1]), code])
    return sorted(found)


def words() -> list[list[int]]:
    """The characters beside which an added token is no word of its own."""
    library = Tokenizer(models.WordLevel({"a": 0}, "a"))
    library.add_tokens([AddedToken("<y>", single_word=True, normalized=False)])
    asked, found = [each for each in characters() if each not in "<y>"], ["y"]
    for at in range(0, len(asked), 4096):
        some = asked[at : at + 4096]
        encoded = library.encode("".join(f"{MARK}<y>{each}{MARK}" for each in some))
        kept = {start for token, (start, _) in zip(encoded.tokens, encoded.offsets, strict=True) if token == "<y>"}
        found += [each for i, each in enumerate(some) if 6 * i + 1 not in kept]
    return ranges(found)


# ---- SentencePiece's clusters ----


def _charsmap(key: str, value: str) -> str:
    """A table of normalization of one key, as SentencePiece writes it (a double-array trie), in base64."""
    import base64

    units, at, base = [0] * 4096, 0, 256
    units[0] = base << 10
    at = base
    for number, byte in enumerate(key.encode()):
        at ^= byte
        target = base * (number + 2)
        last = number == len(key.encode()) - 1
        units[at] = byte | (at ^ target) << 10 | (1 << 8 if last else 0)
        at = target
    units[at] = 1 << 31
    trie = b"".join(unit.to_bytes(4, "little") for unit in units)
    return base64.b64encode(len(trie).to_bytes(4, "little") + trie + value.encode() + b"\0").decode()


def clusters() -> dict[str, list[list[int]]]:
    """The classes of characters that the library's clusters depend on: what extends, cuts, goes before; pictures."""

    def asked(key: str, before: str, after: str, shown: Callable[[str, str], bool]) -> list[list[int]]:
        normalize = _normalizer({"type": "Precompiled", "precompiled_charsmap": _charsmap(key, "Q")})
        tried = marks_among()
        parts = normalize(MARK.join(before + each + after for each in tried)).split(MARK)
        return ranges(each for each, part in zip(tried, parts, strict=True) if shown(each, part))

    one, two = tuple(COMPOSING)
    return {
        "extend": asked("A", "A", "", lambda each, text: text == "Q" and each != "A"),
        "control": asked(one, "", one + two, lambda each, text: text == each + "Q" and each not in COMPOSING),
        "prepend": asked("A", "", "A" + one, lambda each, text: text == each + "Q" + one and each != "A"),
        # And what extends, which makes the cluster as long.
        "picture": asked("\u00a9", "\u00a9\u200d", "", lambda each, text: text == f"Q\u200d{each}"),
    }


TABLES: dict[str, Callable[..., Any]] = {
    each.__name__: each for each in (matching, cutting, mapped, normalized, combining, parts, pairs, words, clusters)
}
