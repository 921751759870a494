# SPDX-License-Identifier: Apache-2.0
"""Make ``gen/unicode.h``: which characters the host's tokenizer library takes for letters, numbers and spaces.

The library itself is asked, not Python's unicodedata: each has a Unicode version of its own (and so have the library's
regular expressions and its digit splitter), and the device must cut a text exactly where the host does.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

from tools.generated import write_generated

PLANES_END = 0x40000
"""No character beyond the first four planes has a class."""
SURROGATES = range(0xD800, 0xE000)
BLOCK = 0x4000
CLASSES = {"LETTER": r"\p{L}", "NUMBER": r"\p{N}", "SPACE": r"\s"}
OTHER, LETTER, NUMBER, SPACE, DIGIT = range(5)
"""DIGIT: a number to the library's digit splitter alone."""


def matching(text: str, pattern: str) -> set[int]:
    """The characters of ``text`` that the pattern matches."""
    rest = pre_tokenizers.Split(Regex(f"{pattern}+"), "removed").pre_tokenize_str(text)
    kept = set(range(len(text)))
    for _, (start, end) in rest:
        kept -= set(range(start, end))
    return {ord(text[i]) for i in kept}


def digits(text: str) -> set[int]:
    """The characters that the digit splitter takes out of a row of letters."""
    pieces = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("a" + "a".join(text) + "a")
    return {ord(piece) for piece, (start, end) in pieces if end - start == 1 and start % 2}


def class_of_each() -> list[int]:
    """Class by code point below PLANES_END."""
    found = [OTHER] * PLANES_END
    for start in range(0, PLANES_END, BLOCK):
        text = "".join(chr(c) for c in range(start, start + BLOCK) if c not in SURROGATES)
        for number, pattern in enumerate(CLASSES.values(), LETTER):
            for code in matching(text, pattern) if text else ():
                found[code] = number
        for code in digits(text) if text else ():
            found[code] = found[code] or DIGIT
    return found


def header() -> str:
    """The table as C: where a run of one class begins, ascending; the class is in the low three bits."""
    lines = ["/* Made by tools/gen_unicode.py: do not edit. */", "#ifndef UNICODE_GENERATED_H"]
    lines += ["#define UNICODE_GENERATED_H", "", "#include <stdint.h>", ""]
    lines += [f"#define UNICODE_{name} {number}u" for number, name in enumerate([*CLASSES, "DIGIT"], LETTER)]
    lines += ["", "static const uint32_t unicode_runs[] = {"]
    at = 0
    for kind, run in groupby([*class_of_each(), OTHER]):
        lines.append(f"    {at << 3 | kind:#x}u,")
        at += len(list(run))
    return "\n".join([*lines, "};", "", "#endif", ""])


def main(out: Path) -> int:
    """Write the header."""
    write_generated(out, header())
    return 0
