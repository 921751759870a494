# SPDX-License-Identifier: Apache-2.0
"""How a generated file is written: at once, and only where its text changed."""

from __future__ import annotations

import os
from pathlib import Path


def write_generated(out: Path, text: str) -> None:
    """Write ``text`` to ``out``; another process reads the old file or the new one, never half of it.

    Compilers map headers: a header that shrinks under them ends them with SIGBUS. Raises OSError.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists() and out.read_text() == text:
        return
    partial = out.with_name(f"{out.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(out)
