# SPDX-License-Identifier: Apache-2.0
"""What foreign words may become: a file's name, a shown line.

Names come from files, recipes and devices of strangers. Only these functions turn such words into the name of a file
or into text on a terminal.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 100
"""Characters of a file's name that come from foreign words; file systems allow 255 bytes."""
_UNSAFE = re.compile(r"[^\w.+@-]+")
_WINDOWS = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def file_name(words: str, fallback: str = "model") -> str:
    """A name for a file in one folder: no separator, no leading dot or dash, no control, nothing invisible.

    ``fallback`` is returned where nothing usable is left.
    """
    plain = unicodedata.normalize("NFC", words).encode("utf-8", "ignore").decode()
    name = _UNSAFE.sub("-", plain).strip("-.")
    while len(name) > MAX_NAME or len(name.encode()) > 2 * MAX_NAME:
        name = name[:-1]
    name = name.strip("-.")
    return fallback if not name or _WINDOWS.fullmatch(name) else name


def shown(words: str, limit: int = 200) -> str:
    """One line of foreign words for a message or a table: no control or bidirectional character, cut at ``limit``."""
    line = "".join("\ufffd" if _steers(c) else c for c in words[: limit + 1])
    return line if len(words) <= limit else line[:limit] + "…"


def shown_lines(words: str) -> str:
    """Several lines of foreign words, such as an error's: as ``shown``, but line feeds and tabs stay, and all of it."""
    return "".join("\ufffd" if _steers(c) and c not in "\n\t" else c for c in words)


def _steers(character: str) -> bool:
    """Whether a terminal may act on a character: controls, format characters (U+202E), surrogates, line separators."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
