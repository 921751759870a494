# SPDX-License-Identifier: Apache-2.0
"""Words for a choice that is not one: what there is, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def meant(word: str, known: Iterable[str]) -> str:
    """``"did you mean X?"`` for a word that is close to a known one, else an empty text; of ``key=VALUE`` the key."""
    from difflib import get_close_matches  # seldom needed

    names = {name.partition("=")[0].lower(): name for name in known}
    lowered = word.partition("=")[0].lower()
    close = get_close_matches(lowered, names, n=1, cutoff=0.6)
    starts = [name for name in names if lowered and name.startswith(lowered)]
    found = starts[:1] if len(starts) == 1 else close
    return f"did you mean {names[found[0]]}?" if found else ""


def choices(word: str, known: Iterable[str]) -> str:
    """``"did you mean Y? known are X, Y, Z"``: the second half of a message that refuses ``word``."""
    names = list(known)
    hint = meant(word, names)
    return f"{hint}{' ' if hint else ''}known are {', '.join(names) or 'none'}"
